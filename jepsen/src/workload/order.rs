use super::Env;

pub(super) async fn run(_env: Env) -> anyhow::Result<()> {
    anyhow::bail!("not written yet")
}
