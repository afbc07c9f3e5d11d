//! The configuration of the `ringsock` program: what is accepted is printed as a file that means the
//! same, and what is not is answered in one line that names its place or its key.
//!
//! Nothing is started and nothing opened: the text of the files that a configuration names is a part
//! of the input. So certificates, addresses and cores, at which `check-config` looks too, are not
//! looked at here.

use std::io;
use std::sync::OnceLock;

use ringsock_server::{Configuration, Said};

const FILE: &str = "r.toml";
const SECRET: &str = "\ntoken = \"(not shown)\" # ";

/// What the parts of an input say, between zeros: the file; the environment, a variable on a line;
/// pairs of flags, one on a line; what stands in every other file, without which there is none.
struct Input<'a> {
    said: Said,
    named: Option<&'a str>,
}

impl<'a> Input<'a> {
    fn read(text: &'a str) -> Self {
        let mut parts = text.splitn(4, '\0');
        let file = parts.next().unwrap_or_default();
        let lines = |part: Option<&'a str>| part.unwrap_or_default().lines();
        let variable = |line: &str| {
            let (name, value) = line.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        let said = Said {
            variables: lines(parts.next()).filter_map(variable).collect(),
            pairs: lines(parts.next()).map(str::to_owned).collect(),
            ..said(file)
        };
        Self { said, named: parts.next() }
    }

    fn files(&self) -> io::Result<String> {
        self.named.map(str::to_owned).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn said(file: &str) -> Said {
    Said { file: Some((FILE.into(), file.to_owned())), ..Said::default() }
}

/// Every key, as the page of an empty configuration has them.
fn keys() -> &'static [String] {
    static KEYS: OnceLock<Vec<String>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let empty = Configuration::read(&said(""), &|_| Ok(String::new()));
        let (mut section, mut keys) = (String::new(), Vec::new());
        for line in empty.expect("nothing said is no mistake").print().lines() {
            let mut words = line.trim_start_matches("# ").split(' ');
            match (words.next(), words.next()) {
                (Some(name), None) => section = name.replace(['[', ']'], ""),
                (Some(name), Some("=" | "is")) => keys.push(format!("{section}.{name}")),
                _ => {}
            }
        }
        keys
    })
}

/// Whether an error says of where or of what it speaks.
fn has_place(error: &str) -> bool {
    let line = error.strip_prefix(FILE).and_then(|rest| rest.strip_prefix(':'));
    let line = line.and_then(|rest| rest.split_once(": "));
    let is_number = |(line, _): (&str, &str)| line.parse::<usize>().is_ok_and(|line| line > 0);
    line.is_some_and(is_number)
        || ["environment ", "flag --set: "].iter().any(|origin| error.starts_with(origin))
        || keys().iter().any(|key| error.contains(key.as_str()))
}

/// The lines of a page without where values came from.
fn values(page: &str) -> Vec<&str> {
    let values = page.lines().map(|line| line.split(" # ").next().unwrap_or_default());
    values.filter(|line| !line.starts_with("# ")).collect()
}

pub(super) fn run(data: &[u8]) {
    // A file that is no text is refused as a whole.
    let Ok(text) = std::str::from_utf8(data) else { return };
    let input = Input::read(text);
    let files = |_: &str| input.files();
    let first = match Configuration::read(&input.said, &files) {
        Ok(first) => first,
        Err(error) => {
            assert!(!error.contains(char::is_control), "{error:?}");
            return assert!(has_place(&error), "{error}");
        }
    };
    let page = first.print();
    let second = Configuration::read(&said(&page.replace(SECRET, "\ntoken = \"x\" # ")), &files);
    let second = second.unwrap_or_else(|error| panic!("{error} in\n{page}"));
    assert!(first.is_same(&second), "{page}");
    assert_eq!(values(&page), values(&second.print()));
}
