//! The man page and the completions of shells, made from the definition of the command line. They
//! are printed; where they belong on a machine is said in the help.

use std::io;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Arguments;
use crate::failure::Failure;
use crate::output::say;

/// Prints the man page, with a section for each mode.
pub(crate) fn print_page() -> Result<(), Failure> {
    let page = page().map_err(|error| Failure::usage(format!("the man page: {error}")))?;
    say(&String::from_utf8_lossy(&page));
    Ok(())
}

/// One page for all modes: none of them has another one to refer to.
fn page() -> io::Result<Vec<u8>> {
    let mut command = Arguments::command();
    command.build();
    let mut page = Vec::new();
    let whole = Man::new(command.clone());
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    whole.render_description_section(&mut page)?;
    whole.render_options_section(&mut page)?;
    for mode in command.get_subcommands().filter(|mode| mode.get_name() != "help") {
        let title = format!(".SH MODE {}\n", mode.get_name().to_uppercase());
        page.extend_from_slice(title.as_bytes());
        let mode = Man::new(mode.clone());
        mode.render_description_section(&mut page)?;
        mode.render_synopsis_section(&mut page)?;
        mode.render_options_section(&mut page)?;
    }
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    page.extend_from_slice(b".SH EXAMPLES AND EXIT CODES\n");
    page.extend_from_slice(as_it_stands(&examples).as_bytes());
    whole.render_version_section(&mut page)?;
    Ok(page)
}

/// Text whose lines are kept as they are.
fn as_it_stands(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = escaped.lines().map(|line| match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}\n"),
        false => format!("{line}\n"),
    });
    format!(".nf\n{}.fi\n", lines.collect::<String>())
}

/// Prints the completions for a shell.
pub(crate) fn print_completions(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "ringload", &mut script);
    say(&String::from_utf8_lossy(&script));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_refers_to_no_other_and_keeps_the_lines_of_examples() {
        let page = String::from_utf8(page().unwrap()).unwrap();
        assert!(!page.contains("echo(1)"), "{page}");
        for words in [
            "\\fBringload echo\\fR",
            "\n    ringload echo ws://127.0.0.1:9001/ \\-\\-rate 20k \\-\\-poisson \\-\\-expect \
             'p99<5ms,loss=0'\n",
            "\\-\\-server\\-cores 0 \\e\n",
        ] {
            assert!(page.contains(words), "{words}");
        }
    }

    #[test]
    fn a_line_that_begins_like_a_request_is_none() {
        assert_eq!(as_it_stands(".a -b\n'c\\"), ".nf\n\\&.a \\-b\n\\&'c\\e\n.fi\n");
    }
}
