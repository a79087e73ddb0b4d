//! A page of Markdown as what can be checked of it: links, headings, blocks and spans of code.

use std::collections::{BTreeMap, BTreeSet};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// What a page holds, each thing with its line.
#[derive(Default)]
pub struct Page {
    /// What headings can be linked to by, as GitHub makes it.
    pub anchors: BTreeSet<String>,
    /// Targets of links and pictures.
    pub links: Vec<(usize, String)>,
    /// Blocks of code: the language, nothing for an indented one, and the text.
    pub blocks: Vec<(usize, Option<String>, String)>,
    /// Code within a line.
    pub spans: Vec<(usize, String)>,
}

/// Reads a page.
pub fn page(text: &str) -> Page {
    let mut page = Page::default();
    let mut same: BTreeMap<String, usize> = BTreeMap::new();
    let (mut heading, mut block) = (None::<String>, None::<(usize, Option<String>, String)>);
    let options = Options::ENABLE_TABLES;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        let line = 1 + text[..range.start].matches('\n').count();
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let anchor = anchor(&heading.take().unwrap_or_default());
                let count = same.entry(anchor.clone()).or_default();
                page.anchors.insert(match *count {
                    0 => anchor,
                    count => format!("{anchor}-{count}"),
                });
                *count += 1;
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push((line, dest_url.into_string()));
            }
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = match kind {
                    CodeBlockKind::Fenced(language) => Some(language.into_string()),
                    CodeBlockKind::Indented => None,
                };
                block = Some((line, language, String::new()));
            }
            Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
            Event::Text(text) => match (&mut block, &mut heading) {
                (Some((.., code)), _) => code.push_str(&text),
                (None, Some(heading)) => heading.push_str(&text),
                (None, None) => {}
            },
            Event::Code(code) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&code);
                }
                page.spans.push((line, code.into_string()));
            }
            _ => {}
        }
    }
    page
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}
