//! What the server runs with, for its log: every option of `serve`, its value, and where that came from. It is read from
//! the grammar of the command line itself, so no option can be left out.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use url::Url;

/// What stands for a secret.
const REDACTED: &str = "(redacted)";
/// An option whose name ends so is a secret, unless it names a file.
const SECRETS: [&str; 9] = [
    "token", "tokens", "secret", "secrets", "password", "key", "keys", "header", "headers",
];

/// The options of `serve`, each list as `name=value name=value`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Configuration {
    flags: String,
    environment: String,
    defaults: String,
    unset: String,
}

impl Configuration {
    /// What was given for the options of a command.
    pub(crate) fn of(command: &Command, matches: &ArgMatches) -> Self {
        let mut configuration = Self::default();
        let options = command
            .get_arguments()
            .filter(|arg| arg.get_long().is_some() && !matches!(arg.get_id().as_str(), "help" | "version"));
        for arg in options {
            configuration.add(arg, matches);
        }
        configuration
    }

    fn add(&mut self, arg: &Arg, matches: &ArgMatches) {
        let id = arg.get_id().as_str();
        let name = arg.get_long().unwrap_or(id);
        let (list, text) = match (matches.value_source(id), matches.get_raw(id)) {
            (Some(source), Some(values)) => {
                let values: Vec<_> = values.map(|value| shown(arg, &value.to_string_lossy())).collect();
                let list = match source {
                    ValueSource::CommandLine => &mut self.flags,
                    ValueSource::EnvVariable => &mut self.environment,
                    _ => &mut self.defaults,
                };
                (list, format!("{name}={}", quoted(&values.join(","))))
            }
            _ => (&mut self.unset, name.to_owned()),
        };
        if !list.is_empty() {
            list.push(' ');
        }
        list.push_str(&text);
    }

    /// Writes it to the log.
    pub(super) fn log(&self) {
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            flags = self.flags,
            environment = self.environment,
            defaults = self.defaults,
            unset = self.unset,
            "configuration"
        );
    }
}

/// A value as it is written to the log.
fn shown(arg: &Arg, value: &str) -> String {
    let last_word = arg.get_long().and_then(|name| name.rsplit('-').next());
    let names_file = arg
        .get_value_names()
        .into_iter()
        .flatten()
        .any(|name| matches!(name.as_str(), "FILE" | "PATH" | "DIRECTORY"));
    if !names_file && last_word.is_some_and(|word| SECRETS.contains(&word)) {
        return REDACTED.to_owned();
    }
    match Url::parse(value) {
        Ok(mut url) if url.password().is_some() => {
            // Only a URL that cannot have a password refuses one.
            let _ = url.set_password(Some("redacted"));
            url.into()
        }
        _ => value.to_owned(),
    }
}

fn quoted(value: &str) -> String {
    let plain =
        !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"');
    if plain {
        value.to_owned()
    } else {
        format!("{value:?}")
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    fn grammar() -> Command {
        let option = |name: &'static str| Arg::new(name).long(name);
        Command::new("serve").args([
            option("listen").default_value("127.0.0.1:50051"),
            option("zone").value_delimiter(','),
            option("otlp-header"),
            option("otlp-endpoint"),
            option("tls-key").value_name("FILE"),
            option("max-header-bytes"),
            option("motto"),
        ])
    }

    fn configuration(args: &[&str]) -> Configuration {
        let matches = grammar().get_matches_from([&["serve"], args].concat());
        Configuration::of(&grammar(), &matches)
    }

    #[test]
    fn every_option_is_told_with_where_it_came_from() {
        let given = configuration(&["--zone", "a,b", "--motto", "two words", "--max-header-bytes", "9"]);
        assert_eq!(given.flags, "zone=a,b max-header-bytes=9 motto=\"two words\"");
        assert_eq!(given.defaults, "listen=127.0.0.1:50051");
        assert_eq!(given.unset, "otlp-header otlp-endpoint tls-key");
    }

    #[test]
    fn secrets_are_not_told_and_the_files_that_hold_them_are() {
        let given = configuration(&[
            "--otlp-header",
            "authorization=hidden",
            "--otlp-endpoint",
            "https://collector:hidden@example.org/x",
            "--tls-key",
            "/etc/key.pem",
        ]);
        assert_eq!(
            given.flags,
            "otlp-header=(redacted) otlp-endpoint=https://collector:redacted@example.org/x tls-key=/etc/key.pem"
        );
    }
}
