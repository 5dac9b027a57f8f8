//! OpenAPI 3.1 of the route table.
//!
//! What it is for: programs in other languages generate their client from it, and people read it. What it owns: turning
//! the table and the types' schemas into one JSON document. What it never does: describe anything that is not in the
//! table.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::error::{ApiError, ErrorReply};
use crate::routes::{Body, Effect, ROUTES, Reply, Route, SchemaFn};
use crate::{headers, version};

/// The two ways a type is described: what we accept (absent keys have defaults) and what we send (every key is there).
struct Generators {
    accepted: SchemaGenerator,
    sent: SchemaGenerator,
}

/// The document. It is the same for the same program, byte for byte.
pub fn document() -> Value {
    let settings = || {
        let mut settings = SchemaSettings::draft2020_12();
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        settings
    };
    let mut generators = Generators {
        accepted: settings().for_deserialize().into_generator(),
        sent: settings().for_serialize().into_generator(),
    };
    generators.sent.subschema_for::<ErrorReply>();
    let mut paths: Map<String, Value> = Map::new();
    for route in &ROUTES {
        let operation = operation(route, &mut generators);
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.method.name().to_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Meanwhile",
            "version": version::PROGRAM,
            "description": "The interface of the Meanwhile daemon: HTTP/1.1 over its unix socket. \
                            Times are RFC 3339 in UTC, durations in replies are milliseconds.",
        },
        "servers": [{ "url": "http://meanwhile" }],
        "paths": paths,
        "components": { "schemas": components(generators) },
    })
}

/// The document as text that is nice to read and to compare.
pub fn text() -> Result<String, ApiError> {
    let text = serde_json::to_string_pretty(&document()).map_err(|error| {
        ApiError::new(crate::ErrorCode::Internal, format!("write the OpenAPI document: {error}"))
    })?;
    Ok(text + "\n")
}

/// Where a type is both accepted and sent, what we send describes it.
fn components(mut generators: Generators) -> Map<String, Value> {
    let mut components = generators.accepted.take_definitions(true);
    components.extend(generators.sent.take_definitions(true));
    components.sort_keys();
    components
}

fn operation(route: &Route, generators: &mut Generators) -> Value {
    let mut operation = json!({
        "operationId": format!("{:?}", route.id),
        "summary": route.summary,
        "parameters": parameters(route, generators),
        "responses": {
            "200": { "description": "Done.", "content": reply(route, generators) },
            "default": {
                "description": "Not done; `error` says why.",
                "content": media("application/json", json!({ "$ref": "#/components/schemas/ErrorReply" })),
            },
        },
    });
    let body = match route.body {
        Body::Empty => return operation,
        Body::Json(schema) => {
            media("application/json", schema(&mut generators.accepted).to_value())
        }
        Body::Bytes => media("application/octet-stream", json!({})),
    };
    operation["requestBody"] = json!({ "required": true, "content": body });
    operation
}

fn reply(route: &Route, generators: &mut Generators) -> Value {
    match route.reply {
        Reply::Json(schema) => media("application/json", schema(&mut generators.sent).to_value()),
        Reply::Events(schema) => {
            media("text/event-stream", schema(&mut generators.sent).to_value())
        }
    }
}

fn media(content_type: &str, schema: Value) -> Value {
    let mut media = Map::new();
    media.insert(content_type.to_owned(), json!({ "schema": schema }));
    Value::Object(media)
}

fn parameters(route: &Route, generators: &mut Generators) -> Vec<Value> {
    let mut parameters = Vec::new();
    if route.path.contains("{id}") {
        parameters.push(json!({
            "name": "id", "in": "path", "required": true, "schema": { "type": "string" },
            "description": "A task: its id, a unique prefix of at least 4 characters, or a unique name.",
        }));
    }
    if let Some(query) = route.query {
        parameters.extend(query_parameters(query, &mut generators.accepted));
    }
    parameters.push(json!({
        "name": headers::SESSION, "in": "header", "schema": { "type": "string" },
        "description": "The session the caller belongs to: SOURCE:NAME, such as explicit:release.",
    }));
    if route.effect == Effect::Changes {
        parameters.push(json!({
            "name": headers::REQUEST_ID, "in": "header", "schema": { "type": "string" },
            "description": "A random id. The same request sent again within 24 hours has its effect once.",
        }));
    }
    parameters
}

/// One parameter per property of the query's schema. The property keeps its own description.
fn query_parameters(query: SchemaFn, generator: &mut SchemaGenerator) -> Vec<Value> {
    let schema = query(generator).to_value();
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()).map(str::to_owned);
    let definition = name.and_then(|name| generator.definitions().get(&name).cloned());
    let properties = definition.unwrap_or(schema)["properties"].take();
    let Value::Object(properties) = properties else { return Vec::new() };
    let parameter = |(name, mut schema): (String, Value)| {
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        json!({ "name": name, "in": "query", "schema": schema, "description": description })
    };
    properties.into_iter().map(parameter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_the_same_every_time() {
        assert_eq!(text().unwrap(), text().unwrap());
    }

    #[test]
    fn every_route_is_described_with_schemas() {
        let document = document();
        for route in &ROUTES {
            let operation = &document["paths"][route.path][route.method.name().to_lowercase()];
            let content = operation["responses"]["200"]["content"].as_object().unwrap();
            assert!(content.values().all(|media| !media["schema"].is_null()), "{}", route.path);
            assert_eq!(operation["requestBody"].is_null(), matches!(route.body, Body::Empty));
            let parameters = operation["parameters"].as_array().unwrap();
            let in_query = parameters.iter().filter(|parameter| parameter["in"] == "query").count();
            assert_eq!(in_query > 0, route.query.is_some(), "{}", route.path);
        }
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        fn walk(value: &Value, document: &Value, seen: &mut usize) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(reference)) = map.get("$ref") {
                        let pointer = reference.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{reference}");
                        *seen += 1;
                    }
                    map.values().for_each(|value| walk(value, document, seen));
                }
                Value::Array(list) => list.iter().for_each(|value| walk(value, document, seen)),
                _ => {}
            }
        }
        let document = document();
        let mut seen = 0;
        walk(&document, &document, &mut seen);
        assert!(seen > ROUTES.len(), "{seen}");
    }

    #[test]
    fn a_reply_promises_every_field_of_a_task() {
        let document = document();
        let task = &document["components"]["schemas"]["Task"];
        let properties = task["properties"].as_object().unwrap().len();
        assert_eq!(task["required"].as_array().unwrap().len(), properties);
    }
}
