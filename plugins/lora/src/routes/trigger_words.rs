//! Trigger words: `GET get-trigger-words` asks for one LoRA's, `POST get_trigger_words` sends those of several to
//! ComfyUI nodes.

use modelshelf_plugin_sdk::library::{self, Lookup};
use modelshelf_plugin_sdk::{PluginError, Request, Response, Result, events};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Type of the message that a node listens for.
pub const EVENT: &str = "trigger_word_update";

/// What nodes put between words, so that a comma inside a word does not split it.
const SEPARATOR: &str = ",, ";

fn words_of(name: &str) -> Result<Vec<String>> {
    let model = match library::get(&Lookup::Name(name.to_owned()))? {
        Some(model) => Some(model),
        // ComfyUI on Windows writes `\` between folders.
        None if name.contains('\\') => library::get(&Lookup::Name(name.replace('\\', "/")))?,
        None => None,
    };
    Ok(model.map(|model| model.trigger_words).unwrap_or_default())
}

/// Answers with the words of one LoRA; none for an unknown name.
pub fn get_trigger_words(request: &Request) -> Result<Response> {
    let trigger_words = words_of(request.require("name")?)?;
    Response::success(json!({"trigger_words": trigger_words}))
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    lora_names: Vec<String>,
    #[serde(default)]
    node_ids: Vec<Value>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Node {
    id: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    graph_id: Option<String>,
}

#[derive(Serialize)]
struct Update<'a> {
    #[serde(flatten)]
    node: &'a Node,
    message: &'a str,
}

impl Node {
    /// A node id, or an object with it and the id of its graph.
    fn read(entry: &Value) -> Result<Self> {
        let (id, graph) = match entry {
            Value::Object(entry) => (entry.get("node_id"), entry.get("graph_id")),
            id => (Some(id), None),
        };
        let id = match id {
            Some(Value::Number(id)) => Value::Number(id.clone()),
            // Nodes compare ids as numbers; those of sub-graphs, such as `3:7`, are texts.
            Some(Value::String(id)) => id
                .trim()
                .parse::<i64>()
                .map_or_else(|_| Value::from(id.as_str()), Value::from),
            _ => {
                return Err(PluginError::invalid(format!(
                    "`node_ids` has an entry without a node id: {entry}"
                )));
            }
        };
        let graph_id = match graph {
            None | Some(Value::Null) => None,
            Some(Value::String(graph)) => Some(graph.clone()),
            Some(graph) => Some(graph.to_string()),
        };
        Ok(Self { id, graph_id })
    }
}

/// Sends the words of all named LoRAs, in order, to every node.
pub fn send_trigger_words(request: &Request) -> Result<Response> {
    let body: Body = request.json()?;
    // Read before anything is sent, so that a bad entry does not leave some nodes updated and others not.
    let nodes = body.node_ids.iter().map(Node::read).collect::<Result<Vec<Node>>>()?;
    let mut words = Vec::new();
    for name in &body.lora_names {
        words.extend(words_of(name)?);
    }
    let message = words.join(SEPARATOR);
    for node in &nodes {
        events::broadcast(
            EVENT,
            &Update {
                node,
                message: &message,
            },
        )?;
    }
    Response::success(json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_ids_or_ids_with_a_graph() {
        let cases = [
            (json!(5), json!(5), None),
            (json!("5"), json!(5), None),
            (json!("3:7"), json!("3:7"), None),
            (json!({"node_id": "5", "graph_id": "root"}), json!(5), Some("root")),
            (json!({"node_id": 5, "graph_id": 2}), json!(5), Some("2")),
            (json!({"node_id": 5, "graph_id": null}), json!(5), None),
        ];
        for (entry, id, graph_id) in cases {
            assert_eq!(
                Node::read(&entry),
                Ok(Node {
                    id,
                    graph_id: graph_id.map(Into::into)
                }),
                "{entry}"
            );
        }
        for entry in [json!(null), json!([]), json!({"graph_id": "x"})] {
            assert_eq!(Node::read(&entry).expect_err("no id").status(), 400, "{entry}");
        }
    }
}
