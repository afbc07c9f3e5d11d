//! The man page and the completions of shells, made from the definition of the command line. They
//! are printed; where they belong on a machine is said in the help.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Arguments;
use crate::failure::Failure;
use crate::output::say;

/// Prints the man page, with a section for each mode.
pub(crate) fn print_page() -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::usage(format!("the man page: {error}"));
    let mut command = Arguments::command();
    command.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(failed)?;
    for mode in command.get_subcommands().filter(|mode| mode.get_name() != "help") {
        let title = format!(".SH MODE {}\n", mode.get_name().to_uppercase());
        page.extend_from_slice(title.as_bytes());
        let mode = clap_mangen::Man::new(mode.clone());
        mode.render_description_section(&mut page).map_err(failed)?;
        mode.render_options_section(&mut page).map_err(failed)?;
    }
    say(&String::from_utf8_lossy(&page));
    Ok(())
}

/// Prints the completions for a shell.
pub(crate) fn print_completions(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "ringload", &mut script);
    say(&String::from_utf8_lossy(&script));
}
