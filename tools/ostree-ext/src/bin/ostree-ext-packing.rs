//! Prints how `ostree-ext` packs components into layers. Each line of the input is a JSON object
//! `{"maxLayers", "components": [as in the crate's content metadata], "previous": manifest or null}`; each line of the
//! output is `{"bins": [[name, …], …]}`, `{"refused": reason}`, or `{"panic": true}` where the crate ends so.

use std::io::{BufRead, Write};
use std::num::NonZeroU32;

use anyhow::{anyhow, Context, Result};
use ostree_ext::chunking::{Chunking, ObjectMetaSized, ObjectSourceMetaSized};
use ostree_ext::oci_spec::image::ImageManifest;
use ostree_ext::objectsource::ObjectMetaMap;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    max_layers: u32,
    components: Vec<ObjectSourceMetaSized>,
    previous: Option<ImageManifest>,
}

/// The chunks are private to the crate; what it prints for debugging names the packages of each.
fn bins_of(chunking: &Chunking) -> Result<Vec<Vec<String>>> {
    let text = format!("{chunking:?}");
    let (_, chunks) = text.split_once(" chunks: [").context("chunks")?;
    chunks
        .split(", packages: ")
        .skip(1)
        .map(|rest| {
            let end = rest.find(']').context("end of a list")?;
            Ok(serde_json::from_str(&rest[..=end])?)
        })
        .collect()
}

fn pack(task: Task) -> Result<Vec<Vec<String>>> {
    let mut map = ObjectMetaMap::new();
    for (index, component) in task.components.iter().enumerate() {
        map.insert(index.to_string(), component.meta.identifier.clone());
    }
    let meta = ObjectMetaSized { map, sizes: task.components };
    let max_layers = Some(NonZeroU32::new(task.max_layers).context("no layers")?);
    let mut chunking = Chunking::default();
    chunking.process_mapping(&meta, &max_layers, task.previous.as_ref())?;
    bins_of(&chunking)
}

fn main() -> Result<()> {
    // A panic is an answer here.
    std::panic::set_hook(Box::new(|_| {}));
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let task: Task = serde_json::from_str(&line?).map_err(|error| anyhow!("not a task: {error}"))?;
        let answer = match std::panic::catch_unwind(|| pack(task)) {
            Ok(Ok(bins)) => serde_json::json!({ "bins": bins }),
            Ok(Err(error)) => serde_json::json!({ "refused": format!("{error:#}") }),
            Err(_) => serde_json::json!({ "panic": true }),
        };
        writeln!(output, "{answer}")?;
    }
    Ok(())
}
