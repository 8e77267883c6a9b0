//! The session itself, asked for at the API server to be judged and not begun.

use wire::ApiTarget;

use super::Look;
use super::answer::settle;

impl Look<'_> {
    pub(super) async fn at_session(&mut self, target: &ApiTarget, query: &str) {
        let answer = self.cluster.rehearse(target, query).await;
        settle(&mut self.report, answer, |error| error.said_hint().map(str::to_owned));
    }
}
