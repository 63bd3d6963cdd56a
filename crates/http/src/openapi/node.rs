//! JSON whose fields stay in the order in which they were written: readers of the reference see `id` first, not `audio`.

use serde_json::Value;

/// A piece of the document.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// A piece in which the order does not matter.
    Value(Value),
    /// An object, in order.
    Object(Vec<(String, Node)>),
    /// A list.
    List(Vec<Node>),
    /// Text that is JSON already.
    Json(&'static str),
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Value(text.into())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Self::Value(text.into())
    }
}

impl From<bool> for Node {
    fn from(flag: bool) -> Self {
        Self::Value(flag.into())
    }
}

impl From<Vec<Node>> for Node {
    fn from(items: Vec<Node>) -> Self {
        Self::List(items)
    }
}

impl Node {
    /// A field added at the end of an object.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Node>) -> Self {
        if let Self::Object(fields) = &mut self {
            fields.push((name.to_owned(), value.into()));
        }
        self
    }

    /// As JSON, without white space but for that in [`Node::Json`].
    pub(crate) fn write(&self, json: &mut String) {
        match self {
            Self::Value(value) => json.push_str(&value.to_string()),
            Self::Json(text) => json.push_str(text),
            Self::List(items) => {
                json.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    item.write(json);
                }
                json.push(']');
            }
            Self::Object(fields) => {
                json.push('{');
                for (index, (name, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    json.push_str(&Value::from(name.as_str()).to_string());
                    json.push(':');
                    value.write(json);
                }
                json.push('}');
            }
        }
    }
}

/// An object, in order: `object! { "id" => …, "object" => … }`.
macro_rules! object {
    ($($name:expr => $value:expr),* $(,)?) => {
        $crate::openapi::node::Node::Object(vec![$(($name.into(), $crate::openapi::node::Node::from($value))),*])
    };
}
pub(crate) use object;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_is_written_in_its_order() {
        let node =
            object! { "z" => json!([1]), "a\"" => object! { "y" => "ü", "x" => Node::Json("{\"b\":1, \"a\":2}") } };
        let mut text = String::new();
        node.with("list", vec![Node::from(true)]).write(&mut text);
        assert_eq!(text, r#"{"z":[1],"a\"":{"y":"ü","x":{"b":1, "a":2}},"list":[true]}"#);
    }
}
