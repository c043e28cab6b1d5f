//! Checks the variables `ARTICLE_STORE_…` of the environment: one that sets no option is an error, so that a
//! misspelled limit or store is not silently replaced by the default.

use std::collections::BTreeSet;

use clap::Command;

use super::Failure;

/// The prefix of all variables of the program.
pub(super) const PREFIX: &str = "ARTICLE_STORE_";

/// Variables without an option. A token is never an option: every user of the machine can read command lines.
const WITHOUT_OPTION: [&str; 1] = ["ARTICLE_STORE_TOKEN"];

/// The prefix of variables that only the project's tests and benches read.
const OF_TESTS: &str = "ARTICLE_STORE_TEST_";

/// Refuses the names that set no option of any command, all at once.
pub(super) fn check(command: &Command, names: impl Iterator<Item = String>) -> Result<(), Failure> {
    let mut known: BTreeSet<String> = WITHOUT_OPTION.map(str::to_owned).into();
    collect(command, &mut known);
    let names: BTreeSet<String> = names.filter(|name| name.starts_with(PREFIX)).collect();
    let wrong: Vec<String> = names
        .iter()
        .filter(|name| !known.contains(*name) && !name.starts_with(OF_TESTS) && !is_link(name, &names))
        .map(|name| unknown(name, &known))
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::Usage(wrong.join("\n")))
}

fn collect(command: &Command, known: &mut BTreeSet<String>) {
    let variables = command.get_arguments().filter_map(|arg| arg.get_env());
    known.extend(variables.map(|name| name.to_string_lossy().into_owned()));
    for sub in command.get_subcommands() {
        collect(sub, known);
    }
}

/// Kubernetes and Docker give every container the addresses of services beside it, and name the variables after them:
/// those of a service `article-store` are no settings.
fn is_link(name: &str, names: &BTreeSet<String>) -> bool {
    names
        .iter()
        .filter_map(|host| host.strip_suffix("_SERVICE_HOST"))
        .filter_map(|service| name.strip_prefix(service))
        .any(|rest| {
            let is = |what: &str| {
                rest.strip_prefix(what)
                    .is_some_and(|more| more.is_empty() || more.starts_with('_'))
            };
            rest == "_SERVICE_HOST" || is("_SERVICE_PORT") || is("_PORT")
        })
}

fn unknown(name: &str, known: &BTreeSet<String>) -> String {
    let nearest = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min();
    // A third of it may be wrong.
    let most_edits = name.len().saturating_sub(PREFIX.len()) / 3;
    let hint = match nearest {
        Some((edits, known)) if edits <= most_edits => format!("did you mean {known}?"),
        _ => "`article-store COMMAND --help` lists the options and their variables".to_owned(),
    };
    format!("the variable {name} in the environment sets no option; {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(names: &[&str]) -> Vec<String> {
        let names = names.iter().map(|name| (*name).to_owned());
        match check(&super::super::command(), names) {
            Err(Failure::Usage(text)) => text.lines().map(str::to_owned).collect(),
            Err(other) => panic!("{other:?}"),
            Ok(()) => vec![],
        }
    }

    #[test]
    fn a_variable_that_sets_nothing_is_refused_and_the_nearest_one_named() {
        assert_eq!(
            refused(&[
                "ARTICLE_STORE_LISTN",
                "ARTICLE_STORE_STORES",
                "ARTICLE_STORE_MOOD"
            ]),
            [
                "the variable ARTICLE_STORE_LISTN in the environment sets no option; did you mean ARTICLE_STORE_LISTEN?",
                "the variable ARTICLE_STORE_MOOD in the environment sets no option; `article-store COMMAND --help` lists \
                 the options and their variables",
                "the variable ARTICLE_STORE_STORES in the environment sets no option; did you mean ARTICLE_STORE_STORE?",
            ]
        );
    }

    #[test]
    fn variables_of_any_command_and_of_others_are_left_alone() {
        let fine = [
            "PATH",
            "ARTICLES",
            "ARTICLE_STORE_LISTEN",
            "ARTICLE_STORE_SERVER",
            "ARTICLE_STORE_TOKEN",
            "ARTICLE_STORE_JOBS_REQUEST_INTO",
            "ARTICLE_STORE_TEST_KILLS",
        ];
        assert_eq!(refused(&fine), Vec::<String>::new());
    }

    #[test]
    fn the_address_of_a_service_beside_is_no_setting() {
        let link = [
            "ARTICLE_STORE_SERVICE_HOST",
            "ARTICLE_STORE_SERVICE_PORT",
            "ARTICLE_STORE_SERVICE_PORT_GRPC",
            "ARTICLE_STORE_PORT",
            "ARTICLE_STORE_PORT_50051_TCP",
            "ARTICLE_STORE_PORT_50051_TCP_ADDR",
            "ARTICLE_STORE_METRICS_SERVICE_HOST",
            "ARTICLE_STORE_METRICS_SERVICE_PORT",
            "ARTICLE_STORE_METRICS_PORT",
        ];
        assert_eq!(refused(&link), Vec::<String>::new());
        assert_eq!(
            refused(&["ARTICLE_STORE_PORT"]).len(),
            1,
            "without its service it is a mistake"
        );
        assert_eq!(
            refused(&["ARTICLE_STORE_SERVICE_HOST", "ARTICLE_STORE_PORTS"]).len(),
            1
        );
    }
}
