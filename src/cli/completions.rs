//! `cutwater completions` and `cutwater man`: what a shell and `man` know of the command line, made from the command line
//! itself, dataflows of a program of one's own included.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::out;

/// What `--help` says above the options of `completions`.
pub(super) const COMPLETIONS: &str = "Print what a shell needs to complete this command line\n\n\
     bash: cutwater completions bash >/etc/bash_completion.d/cutwater\n\
     zsh: cutwater completions zsh >/usr/local/share/zsh/site-functions/_cutwater\n\
     fish: cutwater completions fish >~/.config/fish/completions/cutwater.fish\n\n\
     It knows the commands, the dataflows, their options and the values of those that have a few.";

/// What `--help` says above the options of `man`.
pub(super) const MAN: &str = "Print the manual page, or write the pages of all commands to a folder\n\n\
     cutwater man | man -l -\n\
     cutwater man /usr/local/share/man/man1\n\n\
     A folder gets a page for each command and each dataflow: cutwater.1, cutwater-run.1, cutwater-run-word-count.1 and so on.";

/// The options of `cutwater completions`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// The options of `cutwater man`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct ManArgs {
    /// The folder for the pages of all commands [default: the page of the whole, to standard output]
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// The name by which this program was called: a program of one's own has another than ours.
pub(super) fn program(args: &[OsString]) -> String {
    let name = args.first().and_then(|path| Path::new(path).file_name());
    name.map_or_else(|| "cutwater".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Prints the script of a shell.
///
/// # Errors
/// If standard output can't be written.
pub(super) fn completions(args: &CompletionsArgs, command: Command, program: &str) -> Result<()> {
    let mut command = command.name(program.to_owned());
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, program, &mut script);
    out::print(|out| Ok(out.write_all(&script)?))
}

/// Prints the manual page of the program, or writes those of all commands.
///
/// # Errors
/// If they can't be written.
pub(super) fn man(args: &ManArgs, command: Command, program: &str) -> Result<()> {
    let mut command = command.name(program.to_owned());
    command.build();
    match &args.folder {
        None => {
            let page = rendered(&page(&command))?;
            out::print(|out| Ok(out.write_all(page.as_bytes())?))
        }
        Some(folder) => {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("making the folder {}", folder.display()))?;
            write(&command, folder)
        }
    }
}

/// Writes the page of a command and those of the commands below it.
fn write(command: &Command, folder: &Path) -> Result<()> {
    let page = page(command);
    let path = folder.join(page.get_filename());
    std::fs::write(&path, rendered(&page)?).with_context(|| format!("writing {}", path.display()))?;
    command.get_subcommands().try_for_each(|command| write_below(command, folder))
}

fn write_below(command: &Command, folder: &Path) -> Result<()> {
    // The program's own `help` has none.
    if command.is_hide_set() { Ok(()) } else { write(command, folder) }
}

/// A page for any troff: each character that is not ASCII by its number, since groff by itself takes bytes for Latin-1.
fn rendered(page: &Man) -> Result<String> {
    let mut bytes = Vec::new();
    page.render(&mut bytes)?;
    let mut text = String::with_capacity(bytes.len());
    for c in String::from_utf8(bytes)?.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            let _ = write!(text, "\\[u{:04X}]", u32::from(c));
        }
    }
    Ok(text)
}

fn page(command: &Command) -> Man {
    Man::new(command.clone())
        .manual("Cutwater Manual")
        .source(format!("Cutwater {}", env!("CARGO_PKG_VERSION")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_called_what_its_file_is() {
        assert_eq!(program(&["/opt/own/bin/line-lengths".into(), "man".into()]), "line-lengths");
        assert_eq!(program(&[]), "cutwater");
    }
}
