//! Statements that go to the database together.
//!
//! SQLite is called on a thread of its own, and the way there and back costs more than most statements. A batch gathers
//! writes until something must be read, and sends them in front of that read: one way for all of them. The statements run
//! in the order in which they were added, each prepared once and cached; what a read sees is what it would see if each had
//! been sent alone. Batches of commands that run side by side ([`super::together`]) share even that way.

use super::StoreError;
use super::together::Seat;
use futures::TryStreamExt as _;
use sqlx::sqlite::{SqliteArguments, SqliteQueryResult, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Either, Executor as _, SqliteConnection};
use std::fmt::Display;
use std::fmt::Write as _;
use std::sync::Arc;

/// An argument of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `NULL`.
    Null,
    /// `INTEGER`.
    Integer(i64),
    /// `TEXT`.
    Text(String),
    /// `BLOB`.
    Blob(Vec<u8>),
}

macro_rules! value_from {
    ($($from:ty => |$it:ident| $value:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($it: $from) -> Self {
                $value
            }
        })*
    };
}

value_from! {
    i64 => |it| Self::Integer(it);
    bool => |it| Self::Integer(i64::from(it));
    &str => |it| Self::Text(it.to_owned());
    &String => |it| Self::Text(it.clone());
    String => |it| Self::Text(it);
    &[u8] => |it| Self::Blob(it.to_vec());
    Vec<u8> => |it| Self::Blob(it);
    &Vec<u8> => |it| Self::Blob(it.clone());
    &Option<String> => |it| it.as_deref().into();
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(it: Option<T>) -> Self {
        it.map_or(Self::Null, Into::into)
    }
}

/// One statement.
#[derive(Debug)]
pub(super) struct Step {
    what: &'static str,
    pub(super) sql: &'static str,
    values: Vec<Value>,
    /// Table and key of the one row that must change.
    one_row: Option<(&'static str, String)>,
}

enum Way<'c> {
    Alone(&'c mut SqliteConnection),
    Together(Arc<Seat>),
}

/// Statements of one transaction that wait to be sent. Nothing is sent before [`Batch::run`] or a read; what is still
/// waiting when it is dropped is not done, as if the function had ended before.
#[must_use = "statements wait until the batch is run"]
pub struct Batch<'c> {
    way: Way<'c>,
    steps: Vec<Step>,
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl<'c> Batch<'c> {
    /// An empty batch of this transaction.
    pub const fn on(tx: &'c mut SqliteConnection) -> Self {
        Self { way: Way::Alone(tx), steps: Vec::new() }
    }

    /// An empty batch of a command that runs side by side with others.
    pub(super) const fn at(seat: Arc<Seat>) -> Self {
        Self { way: Way::Together(seat), steps: Vec::new() }
    }

    /// Adds one statement; its arguments `$1`, `$2`, … follow by [`Batch::bind`] in their order.
    pub fn add(&mut self, what: &'static str, sql: &'static str) -> &mut Self {
        self.steps.push(Step { what, sql, values: Vec::new(), one_row: None });
        self
    }

    /// The next argument of the statement added last.
    pub fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        if let Some(step) = self.steps.last_mut() {
            step.values.push(value.into());
        }
        self
    }

    /// The statement added last must change exactly one row.
    pub fn one_row(&mut self, table: &'static str, key: impl Display) -> &mut Self {
        if let Some(step) = self.steps.last_mut() {
            step.one_row = Some((table, key.to_string()));
        }
        self
    }

    /// Runs what waits.
    ///
    /// # Errors
    /// [`StoreError`] of the first statement that failed, or that did not change its one row; those behind a failed one were
    /// not run. The caller's savepoint takes everything back.
    pub async fn run(&mut self) -> Result<(), StoreError> {
        self.rows().await.map(|_| ())
    }

    /// Runs what waits and gives the rows of the statement added last.
    ///
    /// # Errors
    /// As [`Batch::run`].
    pub async fn rows(&mut self) -> Result<Vec<SqliteRow>, StoreError> {
        let steps = std::mem::take(&mut self.steps);
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        match &mut self.way {
            Way::Alone(tx) => execute(tx, &[&steps]).await.map(|mut rows| rows.pop().unwrap_or_default()),
            Way::Together(seat) => seat.ask(steps).await,
        }
    }

    /// As [`Batch::rows`], of which there is one at most.
    ///
    /// # Errors
    /// As [`Batch::run`].
    pub async fn row(&mut self) -> Result<Option<SqliteRow>, StoreError> {
        Ok(self.rows().await?.pop())
    }

    /// As [`Batch::rows`], of which there must be one.
    ///
    /// # Errors
    /// As [`Batch::run`]; also when there is none.
    pub async fn only_row(&mut self) -> Result<SqliteRow, StoreError> {
        let what = self.steps.last().map_or("read nothing", |step| step.what);
        self.row().await?.ok_or_else(|| StoreError::database(what)(sqlx::Error::RowNotFound))
    }
}

impl Step {
    fn check(&self, done: &SqliteQueryResult) -> Result<(), StoreError> {
        self.one_row.as_ref().map_or(Ok(()), |(table, key)| super::one_row(done, table, key))
    }
}

/// Runs the statements of every request in one go; gives for each the rows of its last statement.
pub(super) async fn execute(
    tx: &mut SqliteConnection,
    requests: &[&Vec<Step>],
) -> Result<Vec<Vec<SqliteRow>>, StoreError> {
    let (mut sql, mut arguments) = (String::new(), SqliteArguments::default());
    // The steps in their order, each with the request whose last one it is.
    let mut steps = Vec::new();
    for (request, list) in requests.iter().enumerate() {
        for (place, step) in list.iter().enumerate() {
            renumber(step.sql, arguments.len(), &mut sql);
            sql.push(';');
            for value in &step.values {
                add(&mut arguments, value).map_err(StoreError::database(step.what))?;
            }
            steps.push((step, (place + 1 == list.len()).then_some(request)));
        }
    }
    // Literals and parameter numbers only are in the text: a statement is `&'static str`.
    let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
    let mut answers = tx.fetch_many(query);
    let mut rows: Vec<Vec<SqliteRow>> = requests.iter().map(|_| Vec::new()).collect();
    let mut waiting = steps.iter();
    let mut current = waiting.next();
    loop {
        let what = current.map_or("end a batch", |(step, _)| step.what);
        match answers.try_next().await.map_err(StoreError::database(what))? {
            Some(Either::Left(done)) => {
                if let Some((step, _)) = current {
                    step.check(&done)?;
                }
                current = waiting.next();
            }
            Some(Either::Right(row)) => {
                if let Some(list) = current.and_then(|(_, request)| *request).and_then(|r| rows.get_mut(r)) {
                    list.push(row);
                }
            }
            None => break,
        }
    }
    match current {
        None => Ok(rows),
        Some((step, _)) => {
            let source = Arc::new(sqlx::Error::Protocol("the statement was not run".to_owned()));
            Err(StoreError::Database { what: step.what, source })
        }
    }
}

fn add(arguments: &mut SqliteArguments, value: &Value) -> Result<(), sqlx::Error> {
    let added = match value {
        Value::Null => arguments.add(None::<i64>),
        Value::Integer(number) => arguments.add(*number),
        Value::Text(text) => arguments.add(text.as_str()),
        Value::Blob(bytes) => arguments.add(bytes.as_slice()),
    };
    added.map_err(sqlx::Error::Encode)
}

/// Appends `sql` with every parameter `$n` counted from `base`.
fn renumber(sql: &str, base: usize, out: &mut String) {
    let mut rest = sql;
    while let Some(at) = rest.find('$') {
        let (before, behind) = rest.split_at(at + 1);
        out.push_str(before);
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = behind.split_at(digits);
        if let Ok(number) = number.parse::<usize>() {
            let _ = write!(out, "{}", number + base);
        }
        rest = behind;
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{Connection as _, Row as _};

    async fn table() -> SqliteConnection {
        let mut tx = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::query("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT) STRICT").execute(&mut tx).await.unwrap();
        tx
    }

    #[tokio::test]
    async fn statements_run_in_their_order_with_their_own_arguments_and_the_last_gives_rows() {
        let mut tx = table().await;
        let mut batch = Batch::on(&mut tx);
        batch.add("first", "INSERT INTO t VALUES ($1, $2)").bind(1).bind("一");
        batch.add("second", "INSERT INTO t VALUES ($2, $1)").bind("二").bind(2);
        batch.add("twice", "UPDATE t SET b = b || $1 || $1 WHERE a = $2").bind("x").bind(2).one_row("t", 2);
        batch.add("read", "SELECT a, b, '$.h' AS path FROM t WHERE a >= $1 ORDER BY a").bind(1);
        let rows = batch.rows().await.unwrap();
        let read: Vec<(i64, String, String)> =
            rows.iter().map(|r| (r.get("a"), r.get("b"), r.get("path"))).collect();
        assert_eq!(read, [(1, "一".to_owned(), "$.h".to_owned()), (2, "二xx".to_owned(), "$.h".to_owned())]);
        assert!(batch.rows().await.unwrap().is_empty(), "nothing waits any more");
    }

    #[tokio::test]
    async fn the_failed_statement_is_named_and_nothing_behind_it_is_run() {
        let mut tx = table().await;
        let mut batch = Batch::on(&mut tx);
        batch.add("first", "INSERT INTO t VALUES ($1, 'a')").bind(1);
        batch.add("again", "INSERT INTO t VALUES ($1, 'b')").bind(1);
        batch.add("third", "INSERT INTO t VALUES ($1, 'c')").bind(3);
        let error = batch.run().await.unwrap_err();
        assert!(matches!(error, StoreError::Database { what: "again", .. }), "{error:?}");
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&mut tx).await.unwrap();
        assert_eq!(count, 1);
    }

    #[tokio::test]
    async fn a_row_that_should_have_changed_and_did_not_is_named() {
        let mut tx = table().await;
        let mut batch = Batch::on(&mut tx);
        batch.add("change", "UPDATE t SET b = 'x' WHERE a = $1").bind(7).one_row("t", 7);
        batch.add("more", "INSERT INTO t VALUES (1, 'a')");
        let error = batch.run().await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Changed { table: "t", row, changed: 0 } if row == "7"),
            "{error:?}"
        );
    }
}
