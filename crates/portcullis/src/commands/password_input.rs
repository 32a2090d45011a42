//! Reads a password from standard input. It is never an argument, because every user of the machine can see arguments.

use std::io::BufRead;

use portcullis_model::SecretString;

use super::output::Failure;

/// The most bytes that are read: more than any password, but not a whole file that is given by mistake.
const MAX_BYTES: u64 = 4096;

/// Reads the first line without its line break. Spaces belong to the password.
pub(super) fn read(input: impl BufRead) -> Result<SecretString, Failure> {
    let refused = |why: &str| {
        Failure::new(format!("no password on standard input: {why}"))
            .hint("printf '%s' \"$PASSWORD\" | portcullis users … --password-stdin")
    };
    let mut line = Vec::new();
    input
        .take(MAX_BYTES)
        .read_until(b'\n', &mut line)
        .map_err(|error| refused(&format!("it cannot be read ({error})")))?;
    if line.pop_if(|last| *last == b'\n').is_some() {
        line.pop_if(|last| *last == b'\r');
    }
    match String::from_utf8(line) {
        Ok(password) if password.is_empty() => Err(refused("it is empty")),
        Ok(password) => Ok(SecretString::new(password)),
        Err(_) => Err(refused("it is not UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn the_first_line_with_its_spaces_is_the_password() {
        for (input, password) in [("secret\n", "secret"), ("secret", "secret"), (" a b \r\nmore\n", " a b ")] {
            assert_eq!(read(input.as_bytes()).expect("a password").expose(), password);
        }
        assert!(read(&b""[..]).is_err() && read(&b"\n"[..]).is_err() && read(&b"\xff\n"[..]).is_err());
    }
}
