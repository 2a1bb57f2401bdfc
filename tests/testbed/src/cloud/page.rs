//! Lists: pages, and the filter by name.

use serde_json::{Value, json};

use super::errors::{self, pretty};
use crate::http::Answer;

const DEFAULT_LENGTH: usize = 25;
const MAX_LENGTH: usize = 50;

/// The page of a list that a path's query asks for.
pub(super) fn page(key: &str, mut objects: Vec<Value>, path: &str) -> Result<Answer, Answer> {
    let (_, query) = path.split_once('?').unwrap_or((path, ""));
    let (mut page, mut length) = (1, DEFAULT_LENGTH);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let number = || match value.parse() {
            Ok(number) if number > 0_usize => Ok(number),
            _ => Err(errors::invalid_input(&name, "is not a positive number")),
        };
        match &*name {
            "page" => page = number()?,
            "per_page" => length = number()?.min(MAX_LENGTH),
            "name" => objects.retain(|object| object["name"] == *value),
            _ => {}
        }
    }
    let total = objects.len();
    let last = total.div_ceil(length).max(1);
    let shown: Vec<Value> = objects
        .into_iter()
        .skip((page - 1).saturating_mul(length))
        .take(length)
        .collect();
    let body = json!({
        key: shown,
        "meta": {"pagination": {
            "page": page,
            "per_page": length,
            "previous_page": (page > 1).then(|| page - 1),
            "next_page": (page < last).then(|| page + 1),
            "last_page": last,
            "total_entries": total,
        }},
    });
    Ok(pretty(200, &body))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first object's id, the number of objects and the next page.
    fn ask(query: &str) -> (Value, usize, Value) {
        let all = (0..60).map(|n| json!({"id": n, "name": format!("node {n}")}));
        let answer = page("servers", all.collect(), query).unwrap();
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let next = body["meta"]["pagination"]["next_page"].clone();
        let shown = body["servers"].as_array().unwrap();
        let first = shown.first().map(|object| object["id"].clone());
        (first.unwrap_or_default(), shown.len(), next)
    }

    #[test]
    fn pages_follow_each_other_until_the_last() {
        assert_eq!(ask("/v1/servers"), (json!(0), 25, json!(2)));
        assert_eq!(ask("/?per_page=100"), (json!(0), 50, json!(2)));
        assert_eq!(ask("/?page=2&per_page=50"), (json!(50), 10, Value::Null));
        assert_eq!(ask("/?page=9&per_page=50"), (Value::Null, 0, Value::Null));
        assert_eq!(ask("/?name=node+7"), (json!(7), 1, Value::Null));
        for query in ["?page=0", "?per_page=x"] {
            assert_eq!(page("servers", Vec::new(), query).unwrap_err().status, 422);
        }
    }
}
