//! Feeds `plain_page` of `article_store::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| article_store::fuzz::run("plain_page", data));
