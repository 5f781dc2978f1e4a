//! Moving the fields of a struct to their homes in a FHIR resource, and back.
//!
//! A field that FHIR R4 has an element for goes there; what is left of the struct becomes one extension of the
//! resource, built by rule (objects nest, lists are `list-item`s), so that nothing is lost and nothing stands twice.

use serde_json::{Map, Value, json};

use crate::time::{instant, parse_instant};

/// Prefix of extension URLs; part of the signed format.
pub(super) const EXTENSION: &str = "urn:relay:report:";
/// URL of the elements of a list.
const ITEM: &str = "list-item";
/// Deepest nesting that is read; this crate writes four levels.
const MAX_DEPTH: usize = 8;

/// How a value is written in its home.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Plain,
    /// Milliseconds ↔ FHIR `instant`.
    Instant,
    /// DICOM UID ↔ `urn:oid:` URI.
    Uid,
}

/// A struct field and the element that holds it.
///
/// The path has one step a `/`: a name, an index, or `name[system]` for the list element with that `system`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Home {
    pub(super) key: &'static str,
    pub(super) path: &'static str,
    pub(super) form: Form,
}

pub(super) const fn plain(key: &'static str, path: &'static str) -> Home {
    Home { key, path, form: Form::Plain }
}

/// Moves fields into `resource` and the rest into its extension `name`.
pub(super) fn settle(resource: &mut Value, mut fields: Map<String, Value>, homes: &[Home], name: &str) {
    for home in homes {
        let value = match fields.remove(home.key) {
            None | Some(Value::Null) => continue,
            Some(value) => value,
        };
        let written = match (home.form, &value) {
            (Form::Instant, Value::Number(n)) => n.as_i64().and_then(instant).map(Value::String),
            (Form::Uid, Value::String(uid)) => Some(Value::String(format!("urn:oid:{uid}"))),
            _ => Some(value),
        };
        *slot(resource, home.path) = written.unwrap_or(Value::Null);
    }
    if let Some(rest) = encode(&format!("{EXTENSION}{name}"), &Value::Object(fields)) {
        match slot(resource, "extension") {
            Value::Array(list) => list.push(rest),
            empty => *empty = json!([rest]),
        }
    }
}

/// Collects the fields that [`settle`] moved.
pub(super) fn collect(resource: &Value, homes: &[Home], name: &str) -> Map<String, Value> {
    let url = format!("{EXTENSION}{name}");
    let list = resource.get("extension").and_then(Value::as_array);
    let rest = list.and_then(|l| l.iter().find(|e| e.get("url").and_then(Value::as_str) == Some(&url)));
    let mut fields = match rest.and_then(|e| decode(e, 0)) {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    for home in homes {
        let Some(value) = find(resource, home.path) else { continue };
        let read = match (home.form, value) {
            (Form::Instant, Value::String(text)) => parse_instant(text).map(Value::from),
            (Form::Uid, Value::String(text)) => text.strip_prefix("urn:oid:").map(Value::from),
            (Form::Plain, value) => Some(value.clone()),
            _ => None,
        };
        if let Some(read) = read {
            fields.insert(home.key.to_owned(), read);
        }
    }
    fields
}

enum Step<'a> {
    Name(&'a str),
    Index(usize),
    System(&'a str, &'a str),
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split('/').map(|token| {
        if let Some((name, system)) = token.strip_suffix(']').and_then(|t| t.split_once('[')) {
            Step::System(name, system)
        } else {
            token.parse().map_or(Step::Name(token), Step::Index)
        }
    })
}

/// The element at `path`, made when it is not there.
pub(super) fn slot<'a>(root: &'a mut Value, path: &str) -> &'a mut Value {
    let mut at = root;
    for step in steps(path) {
        at = match step {
            Step::Name(name) => member(at, name),
            Step::Index(index) => element(at, index),
            Step::System(name, system) => {
                let list = member(at, name);
                let found = list.as_array().and_then(|l| l.iter().position(|e| has_system(e, system)));
                let index = found.unwrap_or_else(|| list.as_array().map_or(0, Vec::len));
                let item = element(list, index);
                *member(item, "system") = system.into();
                item
            }
        };
    }
    at
}

fn member<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map.entry(name).or_insert(Value::Null),
        _ => unreachable!("invariant: made an object above"),
    }
}

fn element(value: &mut Value, index: usize) -> &mut Value {
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(list) => {
            if list.len() <= index {
                list.resize(index + 1, Value::Null);
            }
            &mut list[index]
        }
        _ => unreachable!("invariant: made a list above"),
    }
}

fn has_system(value: &Value, system: &str) -> bool {
    value.get("system").and_then(Value::as_str) == Some(system)
}

/// The element at `path`, if it is there.
pub(super) fn find<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    steps(path).try_fold(root, |at, step| match step {
        Step::Name(name) => at.get(name),
        Step::Index(index) => at.get(index),
        Step::System(name, system) => at.get(name)?.as_array()?.iter().find(|e| has_system(e, system)),
    })
}

/// A value as an extension; nothing for null, empty lists and objects without members.
fn encode(url: &str, value: &Value) -> Option<Value> {
    let children: Vec<Value> = match value {
        Value::Null => return None,
        Value::Bool(b) => return Some(json!({"url": url, "valueBoolean": b})),
        Value::String(s) => return Some(json!({"url": url, "valueString": s})),
        Value::Number(n) => {
            // FHIR `integer` has 32 bits; larger ones are exact as `decimal` up to 2^53.
            let small = n.as_i64().is_some_and(|i| i32::try_from(i).is_ok());
            let key = if small { "valueInteger" } else { "valueDecimal" };
            return Some(json!({"url": url, key: n}));
        }
        Value::Array(items) => items.iter().filter_map(|item| encode(ITEM, item)).collect(),
        Value::Object(map) => {
            // Sorted here: the order of a serde_json map depends on features that other crates may turn on.
            let mut members: Vec<_> = map.iter().collect();
            members.sort_unstable_by_key(|(key, _)| key.as_str());
            members.into_iter().filter_map(|(key, item)| encode(key, item)).collect()
        }
    };
    (!children.is_empty()).then(|| json!({"url": url, "extension": children}))
}

fn decode(extension: &Value, depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    let map = extension.as_object()?;
    let Some(children) = map.get("extension").and_then(Value::as_array) else {
        return map.iter().find(|(key, _)| key.starts_with("value")).map(|(_, value)| value.clone());
    };
    let url = |child: &Value| child.get("url").and_then(Value::as_str).map(str::to_owned);
    if children.iter().all(|c| url(c).as_deref() == Some(ITEM)) {
        return children.iter().map(|c| decode(c, depth + 1)).collect::<Option<Vec<_>>>().map(Value::Array);
    }
    let members = children.iter().map(|c| Some((url(c)?, decode(c, depth + 1)?)));
    members.collect::<Option<Map<_, _>>>().map(Value::Object)
}
