//! The keys of `[secrets]` that name a store of secrets, and the variables of AWS that say how to reach one.

use std::path::PathBuf;

use portcullis_model::InvalidInput;
use portcullis_model::SecretString;
use portcullis_secrets::{AwsOptions, CredentialSource, RoleCredentials, SecretPath, StoreOptions, VaultOptions};
use url::Url;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::Notice;
use crate::engine::reader::Reader;
use crate::engine::tree::{Node, Value};
use crate::engine::variables::Variables;

pub(crate) static VAULT: Key = Key::live(
    "vault",
    DefaultValue::Described("none"),
    "`{ address, token_file, path }`",
    "The secret in HashiCorp Vault (KV version 2) that holds secrets in place of the environment, see [secrets.md](secrets.md#hashicorp-vault); `namespace` and `authorities` are optional.",
);
static ADDRESS: Key = Key::live("address", DefaultValue::Required, "URL", "Where Vault is.");
static TOKEN_FILE: Key = Key::live("token_file", DefaultValue::Required, "path", "The file of the token.");
static PATH: Key = Key::live("path", DefaultValue::Required, "mount and name, as in secret/gate", "The secret.");
static NAMESPACE: Key = Key::live("namespace", DefaultValue::Described("none"), "text", "The namespace.");
static AUTHORITIES: Key = Key::live(
    "authorities",
    DefaultValue::Described("the system's authorities"),
    "path",
    "The PEM file of the authorities that may sign the certificate of Vault.",
);
static VAULT_TABLE: Section =
    Section { name: "secrets.vault", about: "", keys: &[&ADDRESS, &TOKEN_FILE, &PATH, &NAMESPACE, &AUTHORITIES] };

pub(crate) static AWS: Key = Key::live(
    "aws",
    DefaultValue::Described("none"),
    "`{ region, id }`",
    "The secret in AWS Secrets Manager that holds secrets in place of the environment, see [secrets.md](secrets.md#aws-secrets-manager).",
);
static REGION: Key =
    Key::live("region", DefaultValue::Described("`AWS_REGION`"), "name, as in eu-central-1", "The region.");
static ID: Key = Key::live("id", DefaultValue::Required, "name or ARN", "The secret.");
static AWS_TABLE: Section = Section { name: "secrets.aws", about: "", keys: &[&REGION, &ID] };

/// The variables of AWS that are read, if `secrets.aws` is set. `AWS_WEB_IDENTITY_TOKEN_FILE` and
/// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` are the files of tokens in AWS's programs too.
#[cfg(test)]
pub(crate) const AWS_VARIABLES: [&str; 15] = [
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_STS",
];

/// The server of credentials of ECS, and the metadata service of instances.
const ECS: &str = "http://169.254.170.2";
const METADATA: &str = "http://169.254.169.254";

/// Reads which store is used; `None` for none.
pub(super) fn read(section: &mut Reader<'_, '_>, variables: &Variables) -> Option<StoreOptions> {
    let (vault, aws) = (section.node(&VAULT).is_some(), section.node(&AWS).is_some());
    match (vault, aws) {
        (true, true) => {
            section.reject(&AWS, "is set beside secrets.vault", "remove one of them: secrets come from one store");
            None
        }
        (true, false) => read_vault(section).map(StoreOptions::Vault),
        (false, true) => read_aws(section, variables).map(StoreOptions::Aws),
        (false, false) => None,
    }
}

fn read_vault(section: &mut Reader<'_, '_>) -> Option<VaultOptions> {
    let hint = "write vault = { address = \"https://vault.example:8200\", token_file = \"/run/secrets/vault-token\", path = \"secret/gate\" }";
    let node = table(section, &VAULT, hint)?;
    let name = section.path(&VAULT);
    let mut vault = Reader::of(Some(&node), name, &VAULT_TABLE, section.problems);
    require(&mut vault, &[&ADDRESS, &TOKEN_FILE, &PATH], hint);
    let address = vault.optional(&ADDRESS, address);
    let token_file = vault.optional(&TOKEN_FILE, path);
    let secret = vault.optional(&PATH, SecretPath::parse);
    let namespace = vault.optional(&NAMESPACE, |text| match text.trim_matches('/') {
        text if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err(InvalidInput("write the path of the namespace, as in team/a".to_owned())),
    });
    let authorities = vault.optional(&AUTHORITIES, path);
    Some(VaultOptions { address: address?, token_file: token_file?, path: secret?, namespace, authorities })
}

fn read_aws(section: &mut Reader<'_, '_>, variables: &Variables) -> Option<AwsOptions> {
    let hint = "write aws = { region = \"eu-central-1\", id = \"gate/production\" }";
    let node = table(section, &AWS, hint)?;
    let (name, place) = (section.path(&AWS), section.place_of(&AWS));
    let mut aws = Reader::of(Some(&node), name, &AWS_TABLE, section.problems);
    require(&mut aws, &[&ID], hint);
    let id = aws.optional(&ID, |text| match text {
        text if !text.is_empty() && text.len() <= 2048 && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(text.to_owned())
        }
        _ => Err(InvalidInput("write the name or the ARN of the secret".to_owned())),
    });
    let region = aws.optional(&REGION, region);
    let mut environment = Environment { variables, problems: section.problems };
    let region = if aws_is_set(&node, &REGION) {
        region
    } else {
        let found = environment.get("AWS_REGION").or_else(|| environment.get("AWS_DEFAULT_REGION"));
        if found.is_none() {
            let notice = Notice::new(&place, "secrets.aws.region is missing, and AWS_REGION is not set");
            environment.problems.add(notice.hint(hint));
        }
        found
    };
    let endpoint = environment.url_of(&["AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"]);
    let credentials = environment.credentials();
    Some(AwsOptions { region: region?, id: id?, endpoint, credentials: credentials? })
}

fn aws_is_set(node: &Node, key: &Key) -> bool {
    matches!(&node.value, Value::Table(table) if table.contains_key(key.name))
}

/// The table of a key. A value of another kind is refused.
fn table(section: &mut Reader<'_, '_>, key: &'static Key, hint: &str) -> Option<Node> {
    let node = section.node(key)?.structured();
    if !matches!(node.value, Value::Table(_)) {
        section.reject(key, format!("is {}, but must be a table", node.value.kind()), hint);
        return None;
    }
    Some(node)
}

fn require(table: &mut Reader<'_, '_>, keys: &[&'static Key], hint: &str) {
    for key in keys {
        if table.node(key).is_none() {
            table.reject(key, "is missing", hint);
        }
    }
}

fn address(text: &str) -> Result<Url, InvalidInput> {
    let form = |why: &str| InvalidInput(format!("{why}; write https://vault.example:8200"));
    let url = Url::parse(text).map_err(|_| form("this is not a URL"))?;
    match () {
        () if !matches!(url.scheme(), "http" | "https") || url.host().is_none() => Err(form("it needs a host")),
        () if !url.username().is_empty() || url.password().is_some() => Err(form("it has a user or a password")),
        () if url.query().is_some() || url.fragment().is_some() => Err(form("it has a query or a fragment")),
        () if url.path().trim_end_matches('/').ends_with("/v1") => Err(form("leave /v1 out")),
        () => Ok(url),
    }
}

fn path(text: &str) -> Result<PathBuf, InvalidInput> {
    match text {
        "" => Err(InvalidInput("write the path of a file".to_owned())),
        text => Ok(text.into()),
    }
}

fn region(text: &str) -> Result<String, InvalidInput> {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match text {
        text if (1..=63).contains(&text.len()) && text.bytes().all(is_good) => Ok(text.to_owned()),
        _ => Err(InvalidInput("write a region, as in eu-central-1".to_owned())),
    }
}

/// The variables of AWS, as its own programs read them.
struct Environment<'v, 'p> {
    variables: &'v Variables,
    problems: &'p mut crate::Problems,
}

impl Environment<'_, '_> {
    fn get(&mut self, name: &str) -> Option<String> {
        self.variables.get(name, self.problems).map(|found| found.value)
    }

    fn secret(&mut self, name: &str) -> Option<SecretString> {
        self.get(name).map(SecretString::new)
    }

    /// The first of these variables that is set.
    fn url_of(&mut self, names: &[&str]) -> Option<Url> {
        let found = names.iter().find_map(|name| self.variables.get(name, self.problems))?;
        let url = Url::parse(&found.value)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
        if url.is_none() {
            let notice = Notice::new(&found.place, "is not an address");
            self.problems.add(notice.hint("write http:// or https:// and a host"));
        }
        url
    }

    /// In the order of AWS's programs: keys, a token of another identity provider, the container, the instance.
    fn credentials(&mut self) -> Option<CredentialSource> {
        if let Some(access_key_id) = self.get("AWS_ACCESS_KEY_ID") {
            let Some(secret_access_key) = self.secret("AWS_SECRET_ACCESS_KEY") else {
                if let Some(place) = self.variables.place("AWS_ACCESS_KEY_ID") {
                    let notice = Notice::new(&place, "AWS_SECRET_ACCESS_KEY is missing");
                    self.problems.add(notice.hint("set both, or unset AWS_ACCESS_KEY_ID"));
                }
                return None;
            };
            let session_token = self.secret("AWS_SESSION_TOKEN");
            return Some(CredentialSource::Given { access_key_id, secret_access_key, session_token });
        }
        let token_file = self.variables.verbatim("AWS_WEB_IDENTITY_TOKEN_FILE").map(|found| PathBuf::from(found.value));
        if let (Some(token_file), Some(arn)) = (token_file, self.get("AWS_ROLE_ARN")) {
            let session_name = self.get("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "portcullis".to_owned());
            let endpoint = self.url_of(&["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]);
            return Some(CredentialSource::WebIdentity {
                role: RoleCredentials { arn, session_name },
                token_file,
                endpoint,
            });
        }
        let full = self.url_of(&["AWS_CONTAINER_CREDENTIALS_FULL_URI"]);
        let relative = self.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let relative = relative.and_then(|path| Url::parse(ECS).ok()?.join(&path).ok());
        if let Some(url) = relative.or(full) {
            let file = self.variables.verbatim("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
            let token = file.is_none().then(|| self.secret("AWS_CONTAINER_AUTHORIZATION_TOKEN")).flatten();
            let token_file = file.map(|found| PathBuf::from(found.value));
            return Some(CredentialSource::Container { url, token, token_file });
        }
        let endpoint = self.url_of(&["AWS_EC2_METADATA_SERVICE_ENDPOINT"]);
        let endpoint = endpoint.or_else(|| Url::parse(METADATA).ok())?;
        Some(CredentialSource::Instance { endpoint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{refused, settings};

    const VAULT: &str = "[secrets]\nvault = { address = \"https://vault.example:8200\", token_file = \"/run/token\", path = \"secret/gate\" }\n";
    const AWS: &str = "[secrets]\naws = { region = \"eu-central-1\", id = \"gate/production\" }\n";

    #[test]
    fn no_store_is_used_by_default() {
        let settings = settings("", &[]);
        assert!(settings.secret_store.is_none());
        assert_eq!(settings.secret_refresh.as_secs(), 300);
    }

    #[test]
    fn a_vault_has_an_address_a_token_and_a_path() {
        let Some(StoreOptions::Vault(vault)) = settings(VAULT, &[]).secret_store else { panic!("it is set") };
        assert_eq!(vault.address.as_str(), "https://vault.example:8200/");
        assert_eq!((vault.token_file, vault.path.to_string()), ("/run/token".into(), "secret/data/gate".to_owned()));
        let environment = [
            ("PORTCULLIS__SECRETS__VAULT__ADDRESS", "http://127.0.0.1:8200"),
            ("PORTCULLIS__SECRETS__VAULT__TOKEN_FILE", "/nowhere/token"),
            ("PORTCULLIS__SECRETS__VAULT__PATH", "kv/data/gate"),
            ("PORTCULLIS__SECRETS__VAULT__NAMESPACE", "/team/a/"),
        ];
        let Some(StoreOptions::Vault(vault)) = settings("", &environment).secret_store else { panic!("it is set") };
        assert_eq!((vault.token_file, vault.namespace), ("/nowhere/token".into(), Some("team/a".to_owned())));
    }

    #[test]
    fn a_store_that_cannot_be_is_refused() {
        for (line, part) in [
            ("vault = 5", "secrets.vault is a number, but must be a table"),
            ("vault = {}", "secrets.vault.address is missing"),
            ("vault = { adress = \"x\" }", "did you mean `address`?"),
            (
                "vault = { address = \"https://u:hunter2@v\", token_file = \"t\", path = \"a/b\" }",
                "it has a user or a password",
            ),
            ("vault = { address = \"https://v/v1\", token_file = \"t\", path = \"a/b\" }", "leave /v1 out"),
            ("vault = { address = \"v:8200\", token_file = \"t\", path = \"a/b\" }", "it needs a host"),
            (
                "vault = { address = \"https://v\", token_file = \"t\", path = \"gate\" }",
                "write the mount and the name",
            ),
            ("aws = { id = \"gate\" }", "secrets.aws.region is missing, and AWS_REGION is not set"),
            ("aws = { region = \"EU\", id = \"gate\" }", "write a region, as in eu-central-1"),
            ("aws = { region = \"eu-central-1\" }", "secrets.aws.id is missing"),
            ("aws = { region = \"eu-central-1\", id = \"a b\" }", "write the name or the ARN"),
            ("refresh = \"0s\"", "secrets.refresh = \"0s\" cannot be used"),
        ] {
            let message = refused(&format!("[secrets]\n{line}\n"), &[]);
            assert!(message.contains(part) && message.contains("portcullis.toml:2"), "{line}: {message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
        let both = format!("{VAULT}{}", AWS.replace("[secrets]\n", ""));
        assert!(refused(&both, &[]).contains("portcullis.toml:3: secrets.aws is set beside secrets.vault"));
    }

    #[test]
    fn credentials_of_aws_come_from_its_variables() {
        let credentials = |variables: &[(&str, &str)]| match settings(AWS, variables).secret_store {
            Some(StoreOptions::Aws(aws)) => aws.credentials,
            other => panic!("{other:?}"),
        };
        let key = [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
        let given = credentials(&key);
        assert!(matches!(given, CredentialSource::Given { .. }) && !format!("{given:?}").contains("hunter2"));
        let web = [("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token"), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/gate")];
        assert!(matches!(credentials(&web), CredentialSource::WebIdentity { .. }));
        let CredentialSource::Container { url, .. } =
            credentials(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/7")])
        else {
            panic!("a container")
        };
        assert_eq!(url.as_str(), "http://169.254.170.2/v2/credentials/7");
        assert!(matches!(credentials(&[]), CredentialSource::Instance { .. }));
        assert!(refused(AWS, &key[..1]).contains("AWS_SECRET_ACCESS_KEY is missing"));
        assert!(
            refused(AWS, &[("AWS_ENDPOINT_URL", "localhost")])
                .contains("environment AWS_ENDPOINT_URL: is not an address")
        );
    }

    #[test]
    fn the_region_may_come_from_the_environment() {
        let file = "[secrets]\naws = { id = \"gate\" }\n";
        let Some(StoreOptions::Aws(aws)) = settings(file, &[("AWS_REGION", "us-east-1")]).secret_store else {
            panic!("it is set")
        };
        assert_eq!(aws.region, "us-east-1");
    }
}
