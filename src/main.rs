//! `article-store`
fn main() {}
