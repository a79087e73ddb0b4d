use std::path::Path;
use std::time::Duration;

use super::*;
use crate::render::Templates;

fn bench(series: &[(&str, &[f64])], memory: &[(&str, u64)]) -> Bench {
    let series = series.iter().map(|(name, millis)| Series { name: (*name).into(), millis: millis.to_vec() });
    Bench {
        schema: SCHEMA,
        app: "shop".into(),
        measured: "2026-11-23T17:20:08Z".into(),
        data: "sha256:0".into(),
        data_bytes: 100 << 20,
        runtime: "podman".into(),
        host: Host {
            architecture: "x86_64".into(),
            kernel: "6.18".into(),
            cpu_vendor: "GenuineIntel".into(),
            cpu_flags: vec![],
        },
        machine: Machine::default(),
        series: series.collect(),
        stages: vec![],
        memory: memory.iter().map(|(kind, bytes)| ((*kind).to_owned(), *bytes)).collect(),
        resident: vec![],
        rates: vec![],
    }
}

/// Something of everything.
fn full() -> Bench {
    let mut bench = bench(
        &[
            (COLD, &[5000.0, 5200.0]),
            (COLD_WITH_CONTAINER, &[5200.0, 5500.0]),
            (COLD_TO_REQUEST, &[5300.0, 5600.0]),
            (COLD_ALONE_TO_REQUEST, &[5100.0, 5290.0]),
            (COLD_REQUEST, &[100.0, 90.0]),
            (RESTORED, &[200.0, 210.0, 190.0, 260.0]),
            (RESTORED_WITH_CONTAINER, &[400.0, 410.0, 390.0, 470.0]),
            (RESTORED_TO_REQUEST, &[405.0, 415.0, 395.0, 475.0]),
            (RESTORED_ALONE_TO_REQUEST, &[205.0, 215.0, 195.0, 265.0]),
            (RESTORED_REQUEST, &[5.0, 5.0, 5.0, 5.0]),
            (DUMP, &[250.0]),
            (EMPTY, &[180.0, 200.0]),
            (READ, &[50.0, 40.0]),
            (WRITE, &[80.0]),
            (BARE, &[130.0]),
            (WARM, &[0.5]),
        ],
        &[("Java heap", 40 << 20), ("JIT code", 20 << 20), ("stacks", 0)],
    );
    let stages = criu_stages(include_str!("../../tests/support/restore.log")).unwrap();
    bench.stages = vec![Series::of("the engine starts a container", [Duration::from_millis(200)])];
    bench.stages.extend(stages.into_iter().map(|(name, lasted)| Series::of(name, [lasted])));
    let resident = |name: &str, rss: &[u64]| Resident {
        name: name.into(),
        rss: rss.iter().map(|size| size << 20).collect(),
        pss: rss.iter().map(|size| (size - 1) << 20).collect(),
        cgroup: vec![],
    };
    bench.resident = vec![resident("cold, ready", &[150, 170]), resident("restored, ready", &[120])];
    let rate = |name: &str, answers: Vec<Vec<u64>>| Rate {
        name: name.into(),
        request: "GET /tea?a=<b>&c|d".into(),
        bucket_millis: 250,
        answers,
    };
    bench.rates = vec![
        rate("cold", vec![vec![10, 20, 30, 40, 50, 60], vec![20, 30, 40, 50, 60, 70]]),
        rate("restored", vec![vec![100, 110, 120, 130, 140, 150]]),
    ];
    bench
}

fn templates() -> Templates {
    Templates::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates")).unwrap()
}

#[test]
fn ratios_are_of_medians() {
    let ratios: Vec<String> =
        full().ratios().iter().map(|ratio| format!("{} {:.2}", ratio.name, ratio.value)).collect();
    let expected = [
        "cold / restored, from the container's start 25.00",
        "cold / restored, from the container's start, to the first warm-up request 24.88",
        "cold / restored, container start included 13.00",
        "cold / restored, container start included, to the first warm-up request 13.09",
        "p95 / median of the restores 1.30",
        "restore / plain read of the same pages 5.00",
        "container start included: ours / (empty container + bare criu restore) 1.29",
        "requests in the first second, restored / cold 3.83",
    ];
    assert_eq!(ratios, expected);
    assert_eq!(bench(&[(COLD, &[5.0])], &[]).ratios(), []);
    assert_eq!(bench(&[(COLD, &[5.0]), (RESTORED, &[])], &[]).headline(), None);
}

#[test]
fn a_ratio_that_must_be_reached() {
    let check = |bench: &Bench, least: f64, expected: Result<f64, &str>| {
        let found = bench.at_least(least).map_err(|error| error.to_string());
        match expected {
            Ok(ratio) => assert_eq!(found, Ok(ratio), "{least}"),
            Err(phrase) => assert!(found.as_ref().is_err_and(|said| said.contains(phrase)), "{found:?}"),
        }
    };
    check(&full(), 0.0, Ok(25.0));
    check(&full(), 25.0, Ok(25.0));
    check(&full(), 25.1, Err("shop is back 25.0 times as fast, and --fail-below wants 25.1"));
    check(&bench(&[(COLD, &[5.0])], &[]), 1.0, Err("--cold and --restores above 0"));
}

#[test]
fn a_floor_stands_beside_what_it_is_a_floor_of() {
    let check = |name: &str, expected: Option<f64>| assert_eq!(full().floor(name), expected, "{name}");
    check(COLD, None);
    check(COLD_WITH_CONTAINER, Some(180.0));
    check(RESTORED, Some(40.0));
    check(RESTORED_WITH_CONTAINER, Some(220.0));
    check(RESTORED_TO_REQUEST, Some(220.5));
    check(RESTORED_REQUEST, Some(0.5));
    check(RESTORED_ALONE_TO_REQUEST, Some(40.5));
    check(DUMP, Some(80.0));
    check(EMPTY, None);
}

#[test]
fn another_machine_is_told() {
    let then = full();
    assert_eq!(full().elsewhere(&then), Vec::<String>::new());
    let mut now = full();
    now.host.kernel = "7.0".into();
    now.runtime = "docker".into();
    now.machine.cpus = 4;
    assert_eq!(
        now.elsewhere(&then),
        ["its runtime is podman, here docker", "its CPU is 0 x , here 4 x ", "its kernel is 6.18, here 7.0"]
    );
}

#[test]
fn rates_are_means_of_the_instances() {
    let rates = full().rates;
    assert_eq!(rates[0].per_second(), [60.0, 100.0, 140.0, 180.0, 220.0, 260.0]);
    assert_eq!(rates[0].first_second(), 120.0);
    let none = Rate { answers: vec![], ..rates[0].clone() };
    assert_eq!((none.per_second(), none.first_second()), (vec![], 0.0));
}

#[test]
fn tables_as_markdown() {
    insta::assert_snapshot!("markdown", full().markdown(None));
}

#[test]
fn an_earlier_run_is_compared_by_its_medians() {
    let then = bench(&[(COLD, &[4000.0]), (RESTORED, &[200.0, 100.0, 300.0]), ("gone", &[1.0])], &[]);
    let now = bench(&[(COLD, &[5000.0]), (RESTORED, &[150.0]), ("new", &[1.0]), ("empty", &[])], &[]);
    let shown = now.markdown(Some(&then));
    let lines: Vec<&str> = shown.lines().skip_while(|line| !line.starts_with("| medians in ms")).collect();
    assert_eq!(
        lines[2..4],
        [format!("| {COLD} | 4000 | 5000 | 1.25 |"), format!("| {RESTORED} | 200 | 150 | 0.75 |")]
    );
    assert_eq!(lines[4], "", "{shown}");
}

/// Reports of every version of this tool are read.
#[test]
fn the_schemas_of_earlier_versions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.json");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Bench::read(&path)
    };
    let whole = serde_json::to_string(&full()).unwrap();
    assert_eq!(read(&whole).unwrap(), full());
    let host =
        r#""host":{"architecture":"x86_64","kernel":"6.18","cpu-vendor":"GenuineIntel","cpu-flags":[]}"#;
    let of = |schema: u32, more: &str| {
        format!(
            r#"{{"schema":{schema},"app":"shop","data":"sha256:0","runtime":"podman",{host},
            "series":[{{"name":"{COLD}","millis":[4000.0]}},{{"name":"{RESTORED}","millis":[200.0]}}]{more}}}"#
        )
    };
    let check = |schema: u32, more: &str, memory: u64| {
        let earlier = read(&of(schema, more)).unwrap();
        assert_eq!((earlier.schema, earlier.headline()), (schema, Some(20.0)));
        assert_eq!(earlier.memory.values().sum::<u64>(), memory);
        assert!(full().markdown(Some(&earlier)).contains(&format!("| {COLD} | 4000 | 5000 | 1.25 |")));
    };
    check(1, "", 0);
    check(2, r#","memory":{"Java heap":7}"#, 7);
    let error = read(&of(9, "")).unwrap_err().to_string();
    assert!(error.contains("has schema 9; this version reads up to 3"), "{error}");
    assert!(read("{}").unwrap_err().to_string().contains("is no benchmark of this tool"));
}

#[test]
fn the_report_for_people() {
    let templates = templates();
    let page = html(&templates, &full(), Some(&full())).unwrap();
    for needed in
        ["25.0×", "GET /tea?a=&lt;b&gt;&amp;c|d", "<title>", "now / then", "To the first correct answer"]
    {
        assert!(page.contains(needed), "{needed}");
    }
    // It works without a network.
    for foreign in ["http:", "https:", "<script", "<link", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    insta::assert_snapshot!("plots", svg(&templates, &full()).unwrap());
    // What is not there is left out.
    let little = bench(&[(RESTORED, &[200.0])], &[]);
    let page = html(&templates, &little, None).unwrap();
    assert!(page.contains("Every restore") && !page.contains("What is in the checkpoint"), "{page}");
    svg(&templates, &bench(&[], &[])).unwrap();
}
