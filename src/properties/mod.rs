//! Properties that hold for every input, for fuzz targets (`fuzz/`) and tests. Nothing of the plugin
//! uses them.

pub mod answer;
#[cfg(test)]
pub mod corpus;
pub mod keyval;
