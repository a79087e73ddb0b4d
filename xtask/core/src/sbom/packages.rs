//! Debian and Ubuntu packages, as dpkg keeps them in a root: `/var/lib/dpkg/status` and `/etc/os-release`.

use super::document::Component;
use super::purl::purl;

/// The distribution that a root was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// `debian` or `ubuntu`.
    pub id: String,
    /// What scanners look for: `ubuntu-24.04`, or for a suite without a number `debian-forky`.
    pub release: String,
}

impl Distribution {
    /// Reads os-release (os-release(5)).
    pub fn parse(text: &str) -> Distribution {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
            line.map(|value| value.trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
        };
        let id = field("ID").unwrap_or_else(|| "debian".into());
        let number = field("VERSION_ID").or_else(|| field("VERSION_CODENAME"));
        let release = number.map(|number| format!("{id}-{number}")).unwrap_or_default();
        Distribution { id, release }
    }
}

/// Every package whose files are there, configured or not; one that was removed and left its configuration is none.
pub fn components(status: &str, distribution: &Distribution) -> Vec<Component> {
    status.split("\n\n").filter_map(|stanza| component(stanza, distribution)).collect()
}

fn component(stanza: &str, distribution: &Distribution) -> Option<Component> {
    // A line that goes on begins with a blank and holds no field that is wanted here.
    let field = |name: &str| {
        let value = stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim).filter(|value| !value.is_empty())
    };
    // Wanted, whether anything went wrong, and what is so: deb-status has the three in this order.
    let state = field("Status")?.split_whitespace().nth(2)?;
    if ["not-installed", "config-files"].contains(&state) {
        return None;
    }
    let (name, version, architecture) = (field("Package")?, field("Version")?, field("Architecture")?);
    let qualifiers = [("arch", architecture), ("distro", &distribution.release)];
    let mut component = Component::new("library", format!("deb:{name}:{architecture}"), name);
    component.version = Some(version.to_owned());
    component.purl = Some(purl("deb", &distribution.id, &name.to_lowercase(), version, &qualifiers));
    component.property("deb:architecture", architecture);
    if let Some(source) = field("Source") {
        // `Source: glibc (2.41-12)`, with the version where it is not the package's own.
        let (source, source_version) = source.split_once(' ').unwrap_or((source, version));
        component.property("deb:source", source);
        component.property("deb:source-version", source_version.trim().trim_matches(['(', ')']));
    }
    Some(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_names_the_distribution() {
        let check = |text: &str, id: &str, release: &str| {
            let expected = Distribution { id: id.into(), release: release.into() };
            assert_eq!(Distribution::parse(text), expected, "{text}");
        };
        check(
            "NAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n",
            "ubuntu",
            "ubuntu-24.04",
        );
        check("ID=debian\nVERSION_CODENAME=forky\n", "debian", "debian-forky");
        check("ID='debian'\n", "debian", "");
        check("", "debian", "");
    }

    #[test]
    fn what_is_installed_is_listed() {
        let status = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\n\
                      Source: glibc\nVersion: 2.41-12\nDescription: GNU C Library\n Package: not a field\n\n\
                      Package: libstdc++6\nStatus: install ok installed\nArchitecture: amd64\n\
                      Source: gcc-15 (15.2.0-8)\nVersion: 15.2.0-8+b1\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n\n\
                      Package: half\nStatus: install ok half-configured\nArchitecture: all\nVersion: 1:0\n\n\
                      Package: nameless\nStatus: install ok installed\n\nStatus\n\n\n\n\
                      Package: tzdata\nStatus: install ok installed\nArchitecture: all\nVersion: 2026b-1\n";
        let distribution = Distribution { id: "debian".into(), release: "debian-forky".into() };
        let purls: Vec<_> = components(status, &distribution).into_iter().map(|c| c.purl.unwrap()).collect();
        assert_eq!(
            purls,
            [
                "pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-forky",
                "pkg:deb/debian/libstdc%2B%2B6@15.2.0-8%2Bb1?arch=amd64&distro=debian-forky",
                "pkg:deb/debian/half@1:0?arch=all&distro=debian-forky",
                "pkg:deb/debian/tzdata@2026b-1?arch=all&distro=debian-forky",
            ]
        );
        let properties = |at: usize| {
            let component = &components(status, &distribution)[at];
            component.properties.iter().map(|p| format!("{}={}", p.name, p.value)).collect::<Vec<_>>()
        };
        let glibc =
            ["xtask:deb:architecture=amd64", "xtask:deb:source=glibc", "xtask:deb:source-version=2.41-12"];
        assert_eq!(properties(0), glibc);
        assert_eq!(properties(1)[2], "xtask:deb:source-version=15.2.0-8");
        assert_eq!(properties(2).len(), 1);
    }
}
