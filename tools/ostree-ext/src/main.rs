//! The command line of `ostree-ext`, unchanged: Treeline's judge for interoperability and its peer in benchmarks.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    ostree_ext::cli::run_from_iter(std::env::args_os()).await
}
