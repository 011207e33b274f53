//! Which projects a client or a source is interested in.

use std::collections::BTreeSet;

/// The projects that a receiver is interested in: all of them, none, or a set.
///
/// A message that names a project goes to those interested in it. A message that names none goes
/// to everyone but those interested in nothing.
///
/// ```
/// use kentros::Interest;
/// assert!(Interest::all().includes("shop"));
/// assert!(Interest::only(["shop", "blog"]).includes("shop"));
/// assert!(!Interest::only(["shop"]).includes("blog"));
/// assert!(!Interest::none().includes("shop"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interest {
    /// `None`: every project.
    projects: Option<BTreeSet<String>>,
}

impl Interest {
    /// Every project, and messages that name none.
    pub fn all() -> Self {
        Self { projects: None }
    }

    /// Nothing at all.
    pub fn none() -> Self {
        Self { projects: Some(BTreeSet::new()) }
    }

    /// These projects, and messages that name none. Without any project, this is [`none`](Self::none).
    pub fn only<I: IntoIterator<Item = S>, S: Into<String>>(projects: I) -> Self {
        Self { projects: Some(projects.into_iter().map(Into::into).collect()) }
    }

    /// Whether this project is included.
    pub fn includes(&self, project: &str) -> bool {
        self.projects.as_ref().is_none_or(|projects| projects.contains(project))
    }

    /// Whether a message that names this project, or none, is received.
    pub(crate) fn receives(&self, project: Option<&str>) -> bool {
        match project {
            Some(project) => self.includes(project),
            None => !self.is_none(),
        }
    }

    pub(crate) fn is_all(&self) -> bool {
        self.projects.is_none()
    }

    pub(crate) fn is_none(&self) -> bool {
        self.projects.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// The set of projects; `None` for all.
    pub(crate) fn projects(&self) -> Option<&BTreeSet<String>> {
        self.projects.as_ref()
    }

    /// With one more project. From all of them, this one is what is left.
    pub(crate) fn with(&self, project: String) -> Self {
        let mut projects = self.projects.clone().unwrap_or_default();
        projects.insert(project);
        Self { projects: Some(projects) }
    }

    /// Without this project. From all of them, nothing can be taken.
    pub(crate) fn without(&self, project: &str) -> Self {
        let mut interest = self.clone();
        if let Some(projects) = &mut interest.projects {
            projects.remove(project);
        }
        interest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_without_a_project_reaches_every_interest_but_none() {
        assert!(Interest::all().receives(None));
        assert!(Interest::only(["a"]).receives(None));
        assert!(!Interest::none().receives(None));
        assert_eq!(Interest::only(Vec::<String>::new()), Interest::none());
    }

    #[test]
    fn a_first_project_narrows_all_and_the_last_one_leaves_nothing() {
        let one = Interest::all().with("a".into());
        assert_eq!(one, Interest::only(["a"]));
        assert_eq!(one.with("b".into()).without("a"), Interest::only(["b"]));
        assert_eq!(one.without("a"), Interest::none());
        assert_eq!(Interest::all().without("a"), Interest::all());
    }
}
