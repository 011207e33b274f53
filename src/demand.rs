//! What the listeners want.

use std::collections::BTreeSet;

/// What the listeners want: every project, or these.
///
/// ```
/// use kentros::Demand;
/// assert!(Demand::all().wants("shop"));
/// assert!(!Demand::only(["shop"]).wants("blog"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// `None`: every project.
    projects: Option<BTreeSet<String>>,
}

impl Demand {
    /// Every project.
    pub fn all() -> Self {
        Self { projects: None }
    }

    /// Only these projects.
    pub fn only<I: IntoIterator<Item = S>, S: Into<String>>(projects: I) -> Self {
        Self { projects: Some(projects.into_iter().map(Into::into).collect()) }
    }

    /// Whether somebody wants this project.
    pub fn wants(&self, project: &str) -> bool {
        self.projects.as_ref().is_none_or(|projects| projects.contains(project))
    }
}
