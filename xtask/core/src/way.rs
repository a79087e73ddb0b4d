//! Who packs an application's rocks and who checkpoints it, here or in what is rendered.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::app::{self, App, EngineChoice, PackerChoice};
use crate::engine::Engine;

/// Who makes a rock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packer {
    /// `rockcraft pack`.
    Rockcraft,
    /// This tool.
    Native,
}

impl fmt::Display for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Packer::Rockcraft => "rockcraft",
            Packer::Native => "native",
        })
    }
}

/// A packer and the engine that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Way {
    /// Who makes the rocks.
    pub packer: Packer,
    /// Who checkpoints.
    pub engine: Engine,
}

impl Way {
    /// The way of an application on a machine that has rockcraft or has not. What app.toml leaves open is rockcraft
    /// where it is installed, and the engine follows the packer.
    pub fn of(app: &App, rockcraft: bool) -> Way {
        let packer = match (app.packer, app.engine) {
            (PackerChoice::Rockcraft, _) => Packer::Rockcraft,
            (PackerChoice::Native, _) => Packer::Native,
            // Debian has no CRaC JDK.
            (PackerChoice::Auto, EngineChoice::Crac) => Packer::Rockcraft,
            (PackerChoice::Auto, _) if rockcraft => Packer::Rockcraft,
            (PackerChoice::Auto, _) => Packer::Native,
        };
        Way { packer, engine: engine(app, packer) }
    }

    /// The way that `rocks/<app>/{checkpoint,restore}` is rendered for.
    pub fn rockcraft(app: &App) -> Way {
        Way { packer: Packer::Rockcraft, engine: engine(app, Packer::Rockcraft) }
    }

    /// The way that `native/` is rendered for, if the application can go it.
    pub fn native(app: &App) -> Option<Way> {
        let way = Way { packer: Packer::Native, engine: engine(app, Packer::Native) };
        (way.engine == Engine::Criu && app.packer != PackerChoice::Rockcraft).then_some(way)
    }
}

/// The engine that goes with a packer, unless the application names one.
fn engine(app: &App, packer: Packer) -> Engine {
    match (app.engine, packer) {
        (EngineChoice::Criu, _) | (EngineChoice::Auto, Packer::Native) => Engine::Criu,
        (EngineChoice::Crac, _) => Engine::Crac,
        (EngineChoice::Auto, Packer::Rockcraft) if app::has_crac(&app.rock.base, app.java.version) => {
            Engine::Crac
        }
        (EngineChoice::Auto, Packer::Rockcraft) => Engine::Criu,
    }
}
