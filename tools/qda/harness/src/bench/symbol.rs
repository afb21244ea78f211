// SPDX-License-Identifier: GPL-2.0

//! Names of functions, for people.

/// How many of the last parts of a path are shown.
const PARTS: usize = 4;

/// Takes what `matches` from the front of `text`.
fn take<'a>(text: &mut &'a str, matches: impl Fn(char) -> bool) -> &'a str {
    let end = text.find(|c| !matches(c)).unwrap_or(text.len());
    let (taken, rest) = text.split_at(end);
    *text = rest;
    taken
}

/// The identifiers in a name that Rust has mangled (RFC 2603), in order. What is between them says
/// how they belong together, and is left out.
fn identifiers(mangled: &str) -> Vec<&str> {
    let mut rest = mangled;
    let mut list = Vec::new();
    while let Some(first) = rest.chars().next() {
        match first {
            '1'..='9' => {
                let digits = take(&mut rest, |c| c.is_ascii_digit());
                let length: usize = digits.parse().unwrap_or(usize::MAX);
                rest = rest.strip_prefix('_').unwrap_or(rest);
                match rest.split_at_checked(length) {
                    Some((name, after)) => {
                        list.push(name);
                        rest = after;
                    }
                    None => return list,
                }
            }
            // A number in base 62 up to the next "_": tells things of one name apart, or points back.
            's' | 'B' if rest.contains('_') => {
                take(&mut rest, |c| c != '_');
                rest = &rest[1..];
            }
            _ => rest = &rest[first.len_utf8()..],
        }
    }
    list
}

/// A kernel symbol, and its module after an "@", as people like to read it.
pub fn readable(symbol: &str) -> String {
    let (name, module) = symbol.split_once('@').unwrap_or((symbol, ""));
    let parts = match name.strip_prefix("_R") {
        Some(mangled) => identifiers(mangled),
        None => Vec::new(),
    };
    let name = match parts.len() {
        0 => name.to_string(),
        n => parts[n.saturating_sub(PARTS)..].join("::"),
    };
    match module {
        "" => name,
        module => format!("{name} {module}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_readable() {
        assert_eq!(readable("drm_ioctl"), "drm_ioctl");
        assert_eq!(
            readable("fastrpc_map_attach@[fastrpc]"),
            "fastrpc_map_attach [fastrpc]"
        );
        assert_eq!(
            readable("_RNvMs1_NtCsfJmf2k8AraF_3qda7payloadNtB5_7Builder3new@[qda]"),
            "qda::payload::Builder::new [qda]"
        );
        assert_eq!(
            readable("_RNvMs_NtCsfJmf2k8AraF_3qda7processNtB4_7Process5frame"),
            "qda::process::Process::frame"
        );
        assert_eq!(readable("_R99x"), "_R99x");
    }

    proptest! {
        #[test]
        fn any_name_is_read(name in "\\PC*", rust in "_R[a-zA-Z0-9_]{0,80}") {
            readable(&name);
            prop_assert!(!readable(&rust).is_empty());
        }
    }
}
