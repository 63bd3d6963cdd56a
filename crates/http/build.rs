//! Takes the viewer of the API reference (Scalar) out of the crate that carries it and compresses it, so that neither the repository
//! nor the binary holds its five megabytes and no page loads anything from elsewhere.

use std::io::Write as _;
use std::path::Path;
use std::{env, error, fs};

use flate2::Compression;
use flate2::write::GzEncoder;

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let viewer = scalar_api_reference::get_asset("scalar.js").ok_or("the viewer is not in its crate")?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&viewer)?;
    let folder = env::var("OUT_DIR")?;
    fs::write(Path::new(&folder).join("scalar.js.gz"), packed.finish()?)?;
    Ok(())
}
