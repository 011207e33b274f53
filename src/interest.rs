//! The projects that a receiver is interested in.

use std::collections::BTreeSet;

/// The projects that a receiver is interested in: all, none, or a set.
///
/// A message of a project is sent to receivers interested in that project. A message without a
/// project is sent to all receivers except those interested in none.
///
/// # Examples
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
    /// `None` is all projects.
    projects: Option<BTreeSet<String>>,
}

impl Interest {
    /// Creates an interest in all projects.
    pub fn all() -> Self {
        Self { projects: None }
    }

    /// Creates an interest in nothing, not even in messages without a project.
    pub fn none() -> Self {
        Self { projects: Some(BTreeSet::new()) }
    }

    /// Creates an interest in these projects. Without any, it equals [`none`](Self::none).
    pub fn only<I: IntoIterator<Item = S>, S: Into<String>>(projects: I) -> Self {
        Self { projects: Some(projects.into_iter().map(Into::into).collect()) }
    }

    /// Returns `true` if the project is included.
    pub fn includes(&self, project: &str) -> bool {
        self.projects.as_ref().is_none_or(|projects| projects.contains(project))
    }

    /// Whether a message of this project, or without a project, is received.
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

    /// The set of projects, or `None` for all.
    pub(crate) fn projects(&self) -> Option<&BTreeSet<String>> {
        self.projects.as_ref()
    }

    /// The part of the interest that matters for content about these projects: all if it includes
    /// each of them, otherwise those that it includes.
    pub(crate) fn within(&self, projects: &BTreeSet<String>) -> Self {
        let Some(own) = &self.projects else { return Self::all() };
        let both: BTreeSet<String> = own.intersection(projects).cloned().collect();
        if both.len() == projects.len() { Self::all() } else { Self { projects: Some(both) } }
    }

    /// Adds a project. An interest in all becomes an interest in this one only.
    pub(crate) fn with(&self, project: String) -> Self {
        let mut projects = self.projects.clone().unwrap_or_default();
        projects.insert(project);
        Self { projects: Some(projects) }
    }

    /// Removes a project. An interest in all does not change.
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
    fn a_message_without_a_project_is_received_unless_the_interest_is_none() {
        assert!(Interest::all().receives(None));
        assert!(Interest::only(["a"]).receives(None));
        assert!(!Interest::none().receives(None));
        assert_eq!(Interest::only(Vec::<String>::new()), Interest::none());
    }

    #[test]
    fn projects_without_content_make_no_difference() {
        let content: BTreeSet<String> = ["a", "b"].map(str::to_owned).into();
        assert_eq!(Interest::only(["a", "b", "x"]).within(&content), Interest::all());
        assert_eq!(Interest::only(["a", "x"]).within(&content), Interest::only(["a"]));
        assert_eq!(Interest::only(["x"]).within(&content), Interest::none());
        assert_eq!(Interest::only(["x"]).within(&BTreeSet::new()), Interest::all());
    }

    #[test]
    fn adding_to_all_narrows_it_and_removing_the_last_leaves_none() {
        let one = Interest::all().with("a".into());
        assert_eq!(one, Interest::only(["a"]));
        assert_eq!(one.with("b".into()).without("a"), Interest::only(["b"]));
        assert_eq!(one.without("a"), Interest::none());
        assert_eq!(Interest::all().without("a"), Interest::all());
    }
}
