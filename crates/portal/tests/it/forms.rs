//! A browser without scripts that people sign in with: it opens pages, fills in their forms and looks at what comes.
#![allow(clippy::expect_used, reason = "a test that can't go on must fail at once")]

use kallglot_app::people::setup_link;
use kallglot_core::id::OrganizationId;
use kallglot_core::person::Role;
use kallglot_testkit::client::Body;
use kallglot_testkit::{Sight, TestServer, Visitor, encoded};

/// The password of everybody here.
pub(crate) const PASSWORD: &str = "violet harbour spoon";

/// What a form or a page was answered with.
#[derive(Debug, Clone)]
pub(crate) struct Answer(pub(crate) Sight);

impl std::ops::Deref for Answer {
    type Target = Sight;

    fn deref(&self) -> &Sight {
        &self.0
    }
}

impl Answer {
    /// Checks that it leads there.
    #[track_caller]
    pub(crate) fn leads_to(&self, path: &str) -> &Self {
        assert_eq!((self.status, self.location()), (303, Some(path)), "{}", self.html);
        self
    }

    /// Checks the status, and that the text is in the page.
    #[track_caller]
    pub(crate) fn says(&self, status: u16, text: &str) -> &Self {
        assert_eq!(self.status, status, "{}", self.html);
        assert!(self.has(text), "no {text:?} in: {}", self.html);
        self
    }

    /// The code of the link that the page shows.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let shown = self.html.split_once("/portal/link#").expect("a link is shown").1;
        shown.split('<').next().unwrap_or_default().to_owned()
    }
}

/// See the module.
pub(crate) struct Browser {
    pub(crate) visitor: Visitor,
    pub(crate) user_agent: &'static str,
}

impl Browser {
    /// One that was never at this server.
    pub(crate) fn of(server: &TestServer) -> Self {
        Self { visitor: server.visitor(), user_agent: "Test/1 (Linux) Firefox/150.0" }
    }

    /// Another one with the same cookies.
    pub(crate) fn twin(&self, server: &TestServer) -> Self {
        let mut twin = Self::of(server);
        twin.visitor.cookies = self.visitor.cookies.clone();
        twin
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        Answer(self.visitor.get(path).await)
    }

    /// Sends a form with the token of the last page that had one.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.visitor.token.clone().unwrap_or_default();
        let mut all = vec![("csrf", token.as_str())];
        all.extend(fields);
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("sec-fetch-site", "same-origin"),
            ("user-agent", self.user_agent),
        ];
        Answer(self.visitor.ask("POST", path, &headers, Body::Raw(encoded(&all).into_bytes())).await)
    }

    /// Opens a page and sends its form to the same path.
    pub(crate) async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.get(path).await;
        self.post(path, fields).await
    }

    /// Opens a one-time link as the page's script does: the code goes into the form. Answers with what it leads to.
    pub(crate) async fn open_link(&mut self, link: &str) -> Answer {
        let (_, code) = link.split_once('#').expect("a link with a code");
        let answer = self.submit("/portal/link", &[("code", code)]).await;
        match answer.location().map(str::to_owned) {
            Some(to) => self.get(&to).await,
            None => answer,
        }
    }

    pub(crate) async fn sign_in(&mut self, email: &str, password: &str) -> Answer {
        self.submit("/portal/sign-in", &[("email", email), ("password", password)]).await
    }

    /// Shows the password once more, before what is sensitive.
    pub(crate) async fn confirm(&mut self) -> Answer {
        self.submit("/portal/confirm", &[("password", PASSWORD)]).await
    }
}

/// A browser in which the first account was just made, `owner@example.com` with [`PASSWORD`], and its organization Acme.
pub(crate) async fn owner(server: &TestServer) -> (Browser, OrganizationId) {
    let (storage, random) = (server.app.storage.as_ref(), server.app.random.as_ref());
    let link = setup_link(storage, &server.app.portal_url(), random, &server.change()).await.expect("an answer");
    let mut browser = Browser::of(server);
    browser.open_link(&link.expect("nobody has an account yet")).await;
    let fields =
        [("name", "Olga Owner"), ("email", "owner@example.com"), ("password", PASSWORD), ("organization", "Acme")];
    browser.post("/portal/link/open", &fields).await.leads_to("/portal");
    browser.get("/portal/account").await;
    let (person, _) = storage.person_of_email("owner@example.com").await.expect("an answer").expect("the owner");
    let memberships = storage.memberships(person.id).await.expect("an answer");
    (browser, memberships[0].organization)
}

/// A browser in which somebody is signed in whom `owner` has invited as `role`: `<name>@example.com` with [`PASSWORD`].
pub(crate) async fn member(
    server: &TestServer,
    owner: &mut Browser,
    organization: OrganizationId,
    role: Role,
    name: &str,
) -> Browser {
    let email = format!("{name}@example.com");
    owner.confirm().await;
    let fields = [("email", email.as_str()), ("role", role.as_str())];
    let code = owner.submit(&format!("/portal/{organization}/test/members/invite"), &fields).await.code();
    let mut browser = Browser::of(server);
    browser.open_link(&format!("#{code}")).await;
    let joined = browser.post("/portal/link/open", &[("name", name), ("password", PASSWORD)]).await;
    joined.leads_to(&format!("/portal/{organization}/test"));
    browser.get("/portal/account").await;
    browser
}
