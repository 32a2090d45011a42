//! The options of a PostgreSQL address: those that are honoured, and the errors about the others.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use portcullis_model::InvalidInput;
use portcullis_model::input::did_you_mean;
use url::Url;

/// The options that are honoured.
const OPTIONS: [&str; 20] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "gssencmode",
    "host",
    "hostaddr",
    "options",
    "password",
    "pgbouncer",
    "port",
    "schema",
    "ssl",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement_timeout",
    "user",
];
/// Other spellings of honoured options.
const ALIASES: [(&str, &str); 5] = [
    ("ssl-mode", "sslmode"),
    ("ssl-root-cert", "sslrootcert"),
    ("ssl-ca", "sslrootcert"),
    ("ssl-cert", "sslcert"),
    ("ssl-key", "sslkey"),
];
/// What to write in place of options of other programs.
const ADVICE: [(&str, &str); 15] = [
    ("connection_limit", "set DATABASE_POOL_MAX instead"),
    ("pool_max_conns", "set DATABASE_POOL_MAX instead"),
    ("pool_timeout", "set database.acquire_timeout instead"),
    ("socket_timeout", "set database.statement_timeout instead"),
    ("sslaccept", "write sslmode=verify-full, or sslmode=require without verification"),
    ("sslpassword", "an encrypted key cannot be used: decrypt the file that sslkey names"),
    ("sslidentity", "write sslcert and sslkey"),
    ("sslnegotiation", "TLS is negotiated as the server expects: remove it"),
    ("uselibpqcompat", "remove it: sslmode has libpq's meaning"),
    ("currentSchema", "write schema"),
    ("search_path", "write schema"),
    ("statement_cache_size", "write pgbouncer=true behind PgBouncer in transaction mode"),
    ("statement-cache-capacity", "write pgbouncer=true behind PgBouncer in transaction mode"),
    ("target_session_attrs", "remove it: the address must lead to the primary, and a standby is refused"),
    ("fallback_application_name", "write application_name"),
];
/// libpq's values of `sslmode`.
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
/// The values with which the certificate of the server is checked.
const VERIFYING: [&str; 2] = ["verify-ca", "verify-full"];

/// The options of an address, by their own names.
pub(super) struct Options {
    values: BTreeMap<String, String>,
    problems: Vec<String>,
}

impl Options {
    /// Reads and checks the options of an address. The error names every one that cannot be used.
    pub(super) fn read(url: &Url) -> Result<Self, InvalidInput> {
        // A piece of a password with & in it would look like an option without a value.
        if url.query().is_some_and(|query| query.split('&').any(|option| !option.contains('='))) {
            return Err(InvalidInput("write each option as name=value; & in a value is written as %26".to_owned()));
        }
        let mut options = Self { values: BTreeMap::new(), problems: Vec::new() };
        for (name, value) in url.query_pairs() {
            let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(&*name, |(_, name)| name);
            // `options[name]=value` is the driver's spelling of `options=-c name=value`.
            let is_setting = name.starts_with("options[") && name.ends_with(']');
            if !OPTIONS.contains(&name) && !is_setting {
                options.problems.push(unknown(name));
            } else if value.is_empty() {
                options.problems.push(format!("`{name}` has no value"));
            } else if options.values.insert(name.to_owned(), value.into_owned()).is_some() {
                options.problems.push(format!("`{name}` is written twice"));
            }
        }
        options.check();
        match options.problems.is_empty() {
            true => Ok(options),
            false => Err(InvalidInput(options.problems.join("; "))),
        }
    }

    /// Returns the value of an option.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }

    /// Checks the values, and replaces `ssl` and `sslmode` by what the driver does for them.
    fn check(&mut self) {
        self.check_ssl();
        let mut refuse = |bad: bool, problem: &str| {
            if bad {
                self.problems.push(problem.to_owned());
            }
        };
        let is = |name: &str, good: &dyn Fn(&str) -> bool| self.values.get(name).is_none_or(|value| good(value));
        refuse(!is("port", &|text| text.parse::<u16>().is_ok_and(|port| port > 0)), "`port` is a number up to 65535");
        refuse(!is("hostaddr", &|text| text.parse::<IpAddr>().is_ok()), "`hostaddr` is an IP address");
        refuse(
            !is("client_encoding", &|text| ["utf8", "utf-8", "auto"].contains(&text.to_lowercase().as_str())),
            "`client_encoding` can only be UTF8: remove it",
        );
        refuse(
            !is("channel_binding", &|text| ["disable", "prefer"].contains(&text)),
            "`channel_binding=require` is not supported: remove it, and write sslmode=verify-full",
        );
        refuse(
            !is("gssencmode", &|text| ["disable", "prefer"].contains(&text)),
            "`gssencmode` is not supported: remove it, and write sslmode=verify-full",
        );
        refuse(!is("pgbouncer", &|text| ["true", "false"].contains(&text)), "`pgbouncer` is true or false");
        let has = |name: &str| self.values.contains_key(name);
        refuse(has("sslcert") != has("sslkey"), "`sslcert` and `sslkey` belong together: write both");
    }

    fn check_ssl(&mut self) {
        if let Some(ssl) = self.values.remove("ssl") {
            let mode = match ssl.as_str() {
                "true" | "1" => "verify-full",
                "false" | "0" => "disable",
                _ => return self.problems.push("`ssl` is true or false; sslmode has more choices".to_owned()),
            };
            if self.values.contains_key("sslmode") {
                return self.problems.push("`ssl` and `sslmode` are both written: keep sslmode".to_owned());
            }
            self.values.insert("sslmode".to_owned(), mode.to_owned());
        }
        let mode = self.value("sslmode");
        if let Some(mode) = &mode
            && !SSL_MODES.contains(&mode.as_str())
        {
            let near = match mode.as_str() {
                "no-verify" => Some("require"),
                other => did_you_mean(other, SSL_MODES),
            };
            let hint = near.map_or_else(|| SSL_MODES.join(", "), |near| format!("did you mean {near}?"));
            return self.problems.push(format!("`sslmode` has no such value: {hint}"));
        }
        let mode = mode.as_deref().unwrap_or("prefer");
        match (mode, self.values.contains_key("sslrootcert")) {
            // As libpq does: an authority that is named is checked.
            ("require", true) => drop(self.values.insert("sslmode".to_owned(), "verify-ca".to_owned())),
            // The driver would not encrypt at all. Both modes connect to the same servers.
            ("allow", false) => drop(self.values.insert("sslmode".to_owned(), "prefer".to_owned())),
            (mode, true) if !VERIFYING.contains(&mode) => self
                .problems
                .push(format!("`sslrootcert` has no effect with sslmode={mode}: write sslmode=verify-full")),
            _ => {}
        }
    }

    /// Reads a number of seconds, of which 0 stands for no limit.
    pub(super) fn seconds(&self, name: &str) -> Result<Option<Duration>, InvalidInput> {
        let Some(text) = self.values.get(name) else { return Ok(None) };
        let seconds: u32 = text.parse().map_err(|_| InvalidInput(format!("`{name}` is a whole number of seconds")))?;
        Ok((seconds > 0).then(|| Duration::from_secs(seconds.into())))
    }

    /// Reads `statement_timeout`: milliseconds, or a number with PostgreSQL's unit.
    pub(super) fn limit(&self) -> Result<Option<Duration>, InvalidInput> {
        let Some(text) = self.values.get("statement_timeout") else { return Ok(None) };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor = match &text[digits.len()..] {
            "" | "ms" => Some(1),
            "s" => Some(1_000),
            "min" => Some(60_000),
            "h" => Some(3_600_000),
            _ => None,
        };
        let millis = digits.parse::<u32>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        match millis {
            Some(millis) if millis > 0 => Ok(Some(Duration::from_millis(millis.into()))),
            _ => Err(InvalidInput(
                "`statement_timeout` is milliseconds above 0, or a number with s, min or h".to_owned(),
            )),
        }
    }

    /// Returns the options that the driver itself understands.
    pub(super) fn of_the_driver(&self) -> Vec<(&str, &str)> {
        const OURS: [&str; 7] = [
            "channel_binding",
            "client_encoding",
            "connect_timeout",
            "gssencmode",
            "pgbouncer",
            "schema",
            "statement_timeout",
        ];
        let pairs = self.values.iter().filter(|(name, _)| !OURS.contains(&name.as_str()));
        pairs.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// Describes an unknown option by its name, with what to write instead.
fn unknown(name: &str) -> String {
    let shown: String = name.chars().take(40).flat_map(char::escape_debug).collect();
    if let Some((_, advice)) = ADVICE.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return format!("`{shown}` is not an option here: {advice}");
    }
    match did_you_mean(&name.to_ascii_lowercase(), OPTIONS) {
        Some(near) => format!("`{shown}` is not an option: did you mean `{near}`?"),
        None => format!("`{shown}` is not an option: the options are {}", OPTIONS.join(", ")),
    }
}
