//! `portcullis man`: the manual pages, made from the definition of the command line, so that they fit the binary.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::Cli;
use super::output::{Failure, print};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Write a page for each command into this folder [default: print the page of portcullis]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = &arguments.output else {
        let page = page(&command).map_err(|error| Failure::new(format!("the page cannot be made: {error}")))?;
        print(&String::from_utf8_lossy(&page));
        return Ok(());
    };
    std::fs::create_dir_all(folder).and_then(|()| write_pages(&command, folder)).map_err(|error| {
        Failure::new(format!("cannot write pages into {}: {error}", folder.display()))
            .hint("name a folder that this user can write to")
    })
}

/// Writes the pages of a command and of those below it.
fn write_pages(command: &clap::Command, folder: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, folder)?;
    }
    std::fs::write(folder.join(Man::new(command.clone()).get_filename()), page(command)?)
}

/// Returns the page of a command in roff.
fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let source = concat!("Portcullis ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(source).manual("Portcullis");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    // clap_mangen would fill the lines of examples.
    let (text, examples) = after.split_once("Examples:\n").unwrap_or((&after, ""));
    let (examples, rest) = examples.split_once("\n\n").unwrap_or((examples, ""));
    let mut roff = Roff::new();
    add_paragraphs(&mut roff, text);
    roff.to_writer(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut roff = Roff::new();
    if !examples.is_empty() {
        roff.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples.lines() {
            roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        roff.control("fi", []);
    }
    add_paragraphs(&mut roff, rest);
    roff.to_writer(&mut page)?;
    Ok(page)
}

fn add_paragraphs(roff: &mut Roff, text: &str) {
    for paragraph in text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
        roff.control("PP", []).text([roman(paragraph)]);
    }
}
