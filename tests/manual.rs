//! The manual page has every key, option, fact and metric that the code knows, and is rendered without
//! warnings.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

fn source(file: &str) -> String {
    let path = format!("{}/src/{file}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The page, as roff.
fn manual() -> String {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/manual.py");
    let mut command = Command::new("python3");
    let output = command.arg(program).env("SOURCE_DATE_EPOCH", "0").output();
    let output = output.expect("python3 is installed");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The terms of the page's lists, without roff's escapes.
fn terms(manual: &str) -> Vec<String> {
    let lines: Vec<&str> = manual.lines().collect();
    let terms = lines.windows(2).filter(|pair| pair[0] == ".TP");
    terms
        .flat_map(|pair| pair[1].split(", "))
        .map(|term| {
            let term = term.replace("\\fB", "").replace("\\fR", "");
            term.replace("\\-", "-")
        })
        .collect()
}

/// The words of a list in a text: between `begin` and `end`, separated by commas.
fn listed(text: &str, begin: &str, end: &str) -> Vec<String> {
    let (_, rest) = text.split_once(begin).expect(begin);
    let (list, _) = rest.split_once(end).expect(end);
    let words = list.split(',').map(|word| word.replace('\\', ""));
    words.map(|word| word.trim().to_string()).collect()
}

/// What is between `begin` and `end`, wherever that occurs.
fn between(text: &str, begin: &str, end: &str) -> Vec<String> {
    let rests = text.split(begin).skip(1);
    rests
        .filter_map(|rest| Some(rest.split_once(end)?.0.to_string()))
        .collect()
}

#[test]
fn the_manual_has_every_key_option_fact_and_metric() {
    let terms = terms(&manual());
    let mistakes = source("order/mistake.rs");
    let mut names = listed(&mistakes, "the keys are url,", "\"");
    let keys = source("order/keys.rs");
    let (tables, _) = keys.split_once("\npub fn of(").expect("the tables");
    let (_, tables) = tables.split_once("\nconst ").expect("the tables");
    names.extend(tables.split('"').skip(1).step_by(2).map(String::from));
    names.sort();
    names.dedup();
    let keys = names.len();
    assert!(keys > 25, "{names:?}");

    let commands = source("command/mod.rs");
    let options = between(&commands, "CStr = c\"", "\"");
    let options = options.iter().filter(|name| *name != "hetzner-command");
    names.extend(options.map(|name| match name.as_str() {
        "hetzner-only" => "--hetzner-only IP".into(),
        name => format!("--{name}"),
    }));
    assert_eq!(names.len(), keys + 6, "{names:?}");

    let report = source("command/report.rs");
    let facts: Vec<String> = (report.lines())
        .filter(|line| line.trim().starts_with("Topic::") && line.contains("=>"))
        .flat_map(|line| between(line, "=> \"", "\""))
        .collect();
    assert!(facts.len() >= 18, "{facts:?}");
    names.extend(facts);

    let metrics = source("metrics.rs");
    let of_addresses = between(&metrics, "(\"", "\", Kind::");
    let of_legions = between(&metrics, "(\"", "\".into(), Kind::");
    assert_eq!((of_addresses.len(), of_legions.len()), (10, 2));
    let of_addresses = of_addresses.iter().map(|name| format!("IP.{name}"));
    let metrics = of_addresses.chain(of_legions);
    names.extend(metrics.map(|name| format!("hetzner.LEGION.{name}")));

    let missing: Vec<&String> = names.iter().filter(|name| !terms.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not among\n{terms:?}");
}

/// The options that are no commands have sections.
#[test]
fn the_manual_has_every_other_option() {
    let manual = manual();
    let preflight = source("preflight/mod.rs");
    let options: Vec<String> = (preflight.lines())
        .filter(|line| line.contains("_OPTION: &CStr"))
        .flat_map(|line| between(line, "c\"", "\""))
        .collect();
    assert_eq!(options.len(), 2, "{options:?}");
    for option in options {
        let heading = format!(".SS {}\n", option.replace('-', "\\-"));
        assert!(manual.contains(&heading), "{heading}");
    }
}

#[test]
fn the_manual_is_rendered_without_warnings() {
    let manual = manual();
    for (program, arguments) in [
        ("groff", &["-man", "-Tutf8", "-ww", "-z"][..]),
        ("mandoc", &["-Tlint", "-Wwarning"]),
    ] {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("*** NOT RUN: there is no {program} to render the manual with. ***");
            continue;
        };
        let mut input = child.stdin.take().expect("it is piped");
        input.write_all(manual.as_bytes()).expect("it reads");
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.is_empty() && output.status.success(), "{said}");
    }
}
