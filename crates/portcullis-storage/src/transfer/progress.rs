//! The progress of a move, stored in the target together with each batch, so that an interrupted move can continue. The
//! table exists only while a move is unfinished: a server refuses to start on such a database.

use std::collections::HashMap;

use uuid::Uuid;

use super::TransferError;
use crate::engine::dialect::Dialect;
use crate::engine::direct_connection::DirectConnection;
use crate::engine::error::StoreError;
use crate::engine::value::Value;
use crate::migrate::schema::{Kind, Table};
use crate::migrate::unfinished_move::is_unfinished;

const CREATE: &str = "CREATE TABLE transfer_progress (
  table_name {text} NOT NULL PRIMARY KEY,
  last_key {text} NOT NULL,
  carried {bigint} NOT NULL
){strict}";
/// The row that holds the source's address has this in place of a table's name.
const SOURCE: &str = "(source)";

/// How far each table was copied.
pub(super) struct Progress {
    /// The key of the last copied row, and the number of copied rows, by table.
    positions: HashMap<String, (String, u64)>,
    /// Whether an earlier attempt had begun this move.
    pub(super) resumed: bool,
}

impl Progress {
    /// Begins a move into an empty target, or continues one from the same source.
    pub(super) async fn open(
        target: &mut DirectConnection,
        tables: &[Table],
        source: &str,
        restart: bool,
    ) -> Result<Self, TransferError> {
        let mut resumed = is_unfinished(target).await?;
        if resumed && restart {
            discard(target, tables).await?;
            resumed = false;
        }
        if !resumed {
            for table in tables {
                let rows = target.count(table.name).await?;
                if rows > 0 {
                    return Err(TransferError::NotEmpty { table: table.name, rows });
                }
            }
            begin(target, source).await?;
        }
        let rows = target.all("SELECT table_name, last_key, carried FROM transfer_progress".to_owned(), vec![]).await?;
        let mut positions = HashMap::new();
        for row in &rows {
            positions.insert(row.get::<String>("table_name")?, (row.get::<String>("last_key")?, row.count("carried")?));
        }
        match positions.remove(SOURCE) {
            Some((known, _)) if known == source => Ok(Self { positions, resumed }),
            Some((other, _)) => Err(TransferError::OtherSource { other }),
            None => Err(TransferError::OtherSource { other: "an unknown database".to_owned() }),
        }
    }

    /// Returns the key after which a table continues, and how many of its rows are in the target.
    pub(super) fn position(&self, table: &Table) -> Result<(Vec<Value>, u64), StoreError> {
        let Some((key, copied)) = self.positions.get(table.name) else { return Ok((Vec::new(), 0)) };
        let parts = key.split(' ').zip(table.key_kinds());
        let values: Option<Vec<Value>> = parts.map(|(text, kind)| read_key(text, kind)).collect();
        values.map(|values| (values, *copied)).ok_or_else(|| StoreError::corrupt(format!("transfer_progress: {key}")))
    }

    /// Records a batch, in the transaction that copies it.
    pub(super) async fn record(
        &mut self,
        target: &mut DirectConnection,
        table: &Table,
        last: &[Value],
        rows: usize,
    ) -> Result<(), StoreError> {
        let key = last.iter().map(write_key).collect::<Vec<_>>().join(" ");
        let known = self.positions.get(table.name).map_or(0, |(_, copied)| *copied);
        let copied = known + rows as u64;
        target
            .execute(
                "INSERT INTO transfer_progress (table_name, last_key, carried) VALUES ($1, $2, $3) \
                 ON CONFLICT (table_name) DO UPDATE SET last_key = excluded.last_key, carried = excluded.carried"
                    .to_owned(),
                vec![table.name.into(), key.as_str().into(), crate::engine::value::as_bigint(copied)],
            )
            .await?;
        self.positions.insert(table.name.to_owned(), (key, copied));
        Ok(())
    }

    /// Finishes the move: from now on a server may start on the target.
    pub(super) async fn finish(self, target: &mut DirectConnection) -> Result<(), StoreError> {
        target.script("DROP", "DROP TABLE transfer_progress").await
    }
}

async fn begin(target: &mut DirectConnection, source: &str) -> Result<(), StoreError> {
    let made = target.runner.dialect.schema(CREATE);
    let source = source.replace('\'', "''");
    let script = format!(
        "{}; {made}; INSERT INTO transfer_progress VALUES ('{SOURCE}', '{source}', 0); COMMIT",
        target.runner.dialect.begin()
    );
    target.script("CREATE", &script).await
}

/// Deletes the rows of an unfinished move. The target holds no others, because no server starts on it.
async fn discard(target: &mut DirectConnection, tables: &[Table]) -> Result<(), StoreError> {
    let names: Vec<&str> = tables.iter().rev().map(|table| table.name).collect();
    let emptied = match target.runner.dialect {
        Dialect::Sqlite => names.iter().map(|name| format!("DELETE FROM {name}; ")).collect(),
        Dialect::Postgres => format!("TRUNCATE {}; ", names.join(", ")),
    };
    let script = format!("{}; {emptied}DROP TABLE transfer_progress; COMMIT", target.runner.dialect.begin());
    target.whole_table_script("DELETE", &script).await
}

/// Writes a key's column as text without spaces.
fn write_key(value: &Value) -> String {
    match value {
        Value::Uuid(Some(id)) => id.to_string(),
        Value::BigInt(Some(number)) => number.to_string(),
        Value::Text(Some(text)) => hex::encode(text),
        Value::Bytes(Some(bytes)) => hex::encode(bytes),
        Value::Boolean(_)
        | Value::Time(_)
        | Value::Uuid(None)
        | Value::BigInt(None)
        | Value::Text(None)
        | Value::Bytes(None) => unreachable!("a primary key has no such column"),
    }
}

fn read_key(text: &str, kind: Kind) -> Option<Value> {
    Some(match kind {
        Kind::Uuid => text.parse::<Uuid>().ok()?.into(),
        Kind::BigInt => text.parse::<i64>().ok()?.into(),
        Kind::Text => String::from_utf8(hex::decode(text).ok()?).ok()?.into(),
        Kind::Bytes => hex::decode(text).ok()?.into(),
        Kind::Boolean | Kind::Timestamp => return None,
    })
}
