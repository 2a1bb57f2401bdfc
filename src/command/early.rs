//! Whether a process was started for a command, before uWSGI has read the option.
//!
//! uWSGI reads its options in their order, so that of a command may come after a file whose mistakes
//! already end uWSGI.

use std::ffi::CStr;

use super::{CHECK, CHECK_JSON, ONLY, SWITCH, UNROUTE, YES};
use crate::order;

const OPTIONS: [&CStr; 6] = [CHECK, CHECK_JSON, SWITCH, UNROUTE, YES, ONLY];

/// How the variables begin that uWSGI takes as options (core/utils.c, `parse_sys_envs`).
const VARIABLE: &[u8] = b"UWSGI_";

/// Whether the report is to be JSON; `None` if this process was started for no command.
pub fn is_json() -> Option<bool> {
    // Without /proc the option itself tells, later.
    let read = |path| std::fs::read(path).unwrap_or_default();
    find(&read("/proc/self/cmdline"), &read("/proc/self/environ"))
}

/// The same for a command line and an environment as the kernel shows them.
fn find(line: &[u8], environment: &[u8]) -> Option<bool> {
    let mut found = None;
    for argument in line.split(|byte| *byte == 0).skip(1) {
        if argument == b"--" {
            break;
        }
        found = found.max(of_argument(argument));
    }
    for variable in environment.split(|byte| *byte == 0) {
        found = found.max(of_variable(variable));
    }
    found
}

/// The same for one argument. getopt_long takes the beginning of an option's name for the name.
fn of_argument(argument: &[u8]) -> Option<bool> {
    let (name, _) = halves(argument.strip_prefix(b"--")?);
    let is_meant = |option: &CStr| option.to_bytes().starts_with(name);
    if name.len() <= b"hetzner-".len() || !OPTIONS.into_iter().any(is_meant) {
        return None;
    }
    Some(name.len() > CHECK.count_bytes() && is_meant(CHECK_JSON))
}

/// The same for one variable.
fn of_variable(variable: &[u8]) -> Option<bool> {
    let (name, value) = halves(variable.strip_prefix(VARIABLE)?);
    let mut name = name.to_ascii_lowercase();
    for byte in &mut name {
        if *byte == b'_' {
            *byte = b'-';
        }
    }
    let is_any = OPTIONS.iter().any(|option| option.to_bytes() == name);
    (is_any && !order::is_off(value)).then(|| name == CHECK_JSON.to_bytes())
}

/// What is before the first `=`, and what is after it.
fn halves(text: &[u8]) -> (&[u8], &[u8]) {
    let sign = text.iter().position(|byte| *byte == b'=');
    match sign {
        Some(sign) => (&text[..sign], &text[sign + 1..]),
        None => (text, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_an_option_or_the_beginning_of_one() {
        for (argument, expected) in [
            ("--hetzner-check", Some(false)),
            ("--hetzner-check-json", Some(true)),
            ("--hetzner-check-json=1", Some(true)),
            ("--hetzner-check-", Some(true)),
            ("--hetzner-c", Some(false)),
            ("--hetzner-switch", Some(false)),
            ("--hetzner-unroute=1", Some(false)),
            ("--hetzner-yes", Some(false)),
            ("--hetzner-only=4.4.4.4", Some(false)),
            ("--hetzner-", None),
            ("--hetzner-checks", None),
            ("--hetzner-health=x", None),
            ("--hetzner-nopreempt", None),
            ("--ini", None),
            ("hetzner-check", None),
            ("-hetzner-check", None),
            ("", None),
        ] {
            assert_eq!(of_argument(argument.as_bytes()), expected, "{argument}");
        }
    }

    #[test]
    fn a_variable_is_the_whole_name_of_an_option() {
        for (variable, expected) in [
            ("UWSGI_HETZNER_CHECK=1", Some(false)),
            ("UWSGI_HETZNER_CHECK_JSON=true", Some(true)),
            ("UWSGI_hetzner_switch=1", Some(false)),
            ("UWSGI_HETZNER_CHECK=0", None),
            ("UWSGI_HETZNER_C=1", None),
            ("HETZNER_CHECK=1", None),
        ] {
            assert_eq!(of_variable(variable.as_bytes()), expected, "{variable}");
        }
    }

    #[test]
    fn any_of_them_is_enough() {
        let line = b"uwsgi\0--hetzner-check\0--ini\0x.ini\0";
        assert_eq!(find(line, b""), Some(false));
        assert_eq!(find(line, b"A=B\0UWSGI_HETZNER_CHECK_JSON=1\0"), Some(true));
        let served = b"--hetzner-check\0--ini\0x.ini\0--\0--hetzner-check\0";
        assert_eq!(find(served, b"A=B\0"), None);
        assert_eq!(is_json(), None);
    }
}
