//! Ids don't depend on the order in which anything is written or read.

use std::convert::Infallible;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::package::Variant;
use crate::package::hash::hash_value;

/// Puts items into an order that a number stands for.
fn shuffled<T>(mut items: Vec<T>, mut order: u64) -> Vec<T> {
    for last in (1..items.len()).rev() {
        order =
            order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = usize::try_from(order >> 33).unwrap() % (last + 1);
        items.swap(last, other);
    }
    items
}

fn object(entries: Vec<(String, String)>, order: u64) -> String {
    let entries = shuffled(entries, order).into_iter();
    let texts: Vec<String> = entries.map(|(key, value)| format!("{key:?}: {value}")).collect();
    format!("{{{}}}", texts.join(", "))
}

/// A value without booleans, whose order in a list beside equal numbers counts in Python.
fn value() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        any::<i64>().prop_map(Value::from),
        "[a-z\u{e4}\u{1f600}\"\\\\]{0,6}".prop_map(Value::from),
    ];
    plain.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            vec(any::<i64>().prop_map(Value::from), 0..5).prop_map(Value::from),
            vec("[a-c]{0,3}".prop_map(Value::from), 0..5).prop_map(Value::from),
            vec(vec("[a-c]{0,2}".prop_map(Value::from), 0..3).prop_map(Value::from), 0..4)
                .prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{0,4}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Serializes a value with its lists and objects in another order. A list within a list keeps its
/// order, by which the outer list is sorted.
fn written(value: &Value, order: u64) -> String {
    match value {
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().map(Value::to_string).collect();
            format!("[{}]", shuffled(texts, order).join(","))
        }
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| (key.clone(), written(value, order));
            object(map.iter().map(entry).collect(), order)
        }
        plain => plain.to_string(),
    }
}

/// Ids of a tree; each package may require some of the packages before.
fn ids(packages: &[(Vec<prop::sample::Index>, i64)], order: u64) -> BTreeMap<String, String> {
    let name = |index: usize| format!("p{index}");
    let texts = packages.iter().enumerate().map(|(index, (requires, number))| {
        let mut requires: Vec<usize> = match index {
            0 => Vec::new(),
            _ => requires.iter().map(|required| required.index(index)).collect(),
        };
        requires.sort_unstable();
        requires.dedup();
        let requires: Vec<String> = shuffled(requires, order)
            .into_iter()
            .map(|index| format!("{:?}", name(index)))
            .collect();
        let variables = [("A", "\"x\""), ("B", "true"), ("C", &number.to_string())]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let sources = ["one", "two", "three"].map(|source| {
            let sha1 = format!("{:?}", Sha1Sum::of(source.as_bytes()).as_str());
            let entries = [("kind", "\"url\""), ("url", "\"http://x/y\""), ("sha1", &sha1)];
            let entries = entries.map(|(key, value)| (key.to_owned(), value.to_owned()));
            (source.to_owned(), object(entries.into(), order))
        });
        let entries = vec![
            ("requires".to_owned(), format!("[{}]", requires.join(","))),
            ("environment".to_owned(), object(variables.into(), order)),
            ("sources".to_owned(), object(sources.into(), order)),
            ("state_directory".to_owned(), "true".to_owned()),
            ("username".to_owned(), "\"dcos_x\"".to_owned()),
        ];
        (name(index), object(entries, order))
    });
    let tree = PackageTree::in_memory(shuffled(texts.collect(), order));
    let keys = tree.resolve(&Variant::DEFAULT).unwrap().packages;
    let identities = identify_with::<Infallible>(&tree, &keys, |_| {
        let (image, build) = (Sha256Sum::of(b""), Sha1Sum::of(b""));
        Ok(Inputs { image, build, extra: None, heads: BTreeMap::new() })
    });
    let identities = identities.unwrap();
    identities.iter().map(|one| (one.key.to_string(), one.id.to_string())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn ids_are_the_same_in_any_order(
        packages in vec((vec(any::<prop::sample::Index>(), 0..4), any::<i64>()), 1..10),
        orders in any::<[u64; 2]>(),
    ) {
        let [one, other] = orders.map(|order| ids(&packages, order));
        prop_assert_eq!(one.len(), packages.len());
        prop_assert_eq!(one, other);
    }

    #[test]
    fn a_hash_is_the_same_in_any_order(value in value(), order in any::<u64>()) {
        let text = written(&value, order);
        let other: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(hash_value(&value), hash_value(&other), "{}", text);
    }
}
