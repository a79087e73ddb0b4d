//! Parses the command line, dispatches, prints `error: …`.

use std::process::ExitCode;

use xtask::diagnostic::{InputError, causes};
use xtask::explain;
use xtask::interrupt::{self, Interrupted};

fn main() -> ExitCode {
    let cli = xtask::cli::parse();
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
                    let text = causes(&error);
                    eprintln!("error: {text}");
                    if let Some(why) = explain::of_error(&text) {
                        eprintln!("{why}");
                    }
                    ExitCode::FAILURE
                }
            }
        }
    }
}
