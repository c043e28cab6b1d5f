//! Compiles the protobuf files with `protox`, so that no `protoc` is needed on anyone's machine.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=src/store/model/records.proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let api = protox::Compiler::new(["proto"])?
        .include_imports(true)
        .include_source_info(true)
        .open_files([
            "articlestore/v1/admin_service.proto",
            "articlestore/v1/article_service.proto",
            "articlestore/v1/change_service.proto",
            "articlestore/v1/translation_job_service.proto",
            "articlestore/v1/translation_service.proto",
        ])?
        .file_descriptor_set();
    // Reflection serves the descriptors without comments: they are a quarter of the size.
    let mut descriptors = api.clone();
    descriptors
        .file
        .iter_mut()
        .for_each(|file| file.source_code_info = None);
    fs::write(
        out.join("articlestore.v1.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )?;

    // The command line prints messages as JSON by their names.
    let mut names = prost_build::Config::new();
    names.enable_type_names();
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".articlestore.v1.ImportArticlesRequest")
        .codec_path("crate::api::codec::Codec")
        .extern_path(
            ".articlestore.v1.ImportArticlesRequest",
            "crate::api::codec::ImportArticlesRequest",
        )
        .compile_fds_with_config(api, names)?;

    let records = protox::compile(["src/store/model/records.proto"], ["src/store/model"])?;
    // Backups hold records as JSON.
    pbjson_build::Builder::new()
        .register_descriptors(&prost::Message::encode_to_vec(&records))?
        .btree_map(["."])
        .build(&[".articlestore.records"])?;
    prost_build::Config::new().btree_map(["."]).compile_fds(records)?;
    Ok(())
}
