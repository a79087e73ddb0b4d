//! Parses the command line, dispatches, prints `error: …`.

use std::process::ExitCode;

use clap::Parser;
use xtask::cli::Cli;
use xtask::diagnostic::{InputError, causes};
use xtask::interrupt::{self, Interrupted};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match interrupt::install().and_then(|()| xtask::commands::run(&cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(input) = error.downcast_ref::<InputError>() {
                eprintln!("{input}");
                return ExitCode::from(2);
            }
            let interrupted = error.downcast_ref::<Interrupted>().copied().or_else(interrupt::received);
            match interrupted {
                Some(interrupted) => {
                    eprintln!("error: {interrupted}");
                    ExitCode::from(128 + interrupted.signal as u8)
                }
                None => {
                    eprintln!("error: {}", causes(&error));
                    ExitCode::FAILURE
                }
            }
        }
    }
}
