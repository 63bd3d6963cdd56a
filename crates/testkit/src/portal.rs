//! People at the Developer Portal, without a browser: who they are, the pages they get, the forms they send.
//!
//! ```no_run
//! # async fn example() {
//! use kallglot_core::person::Role;
//! use kallglot_testkit::TestServer;
//!
//! let server = TestServer::start().await;
//! let team = server.team("Example").await;
//! let mut ana = server.member(&team, Role::Developer).await;
//! let page = ana.get(&team.at("test", "/webhooks")).await;
//! assert_eq!((page.status, page.has("Add an endpoint")), (200, true));
//! # }
//! ```
#![allow(clippy::expect_used, reason = "a test that can't be set up must fail at once")]

use std::collections::BTreeMap;

use jiff::SignedDuration;
use kallglot_app::people::CODE_CHARS;
use kallglot_client::{Body, Client};
use kallglot_core::clock::Clock as _;
use kallglot_core::id::{OrganizationId, PersonId, PortalLinkId, PortalSessionId};
use kallglot_core::person::{Invitation, Person, PortalLink, PortalSession, Role};
use kallglot_storage::{CodeHash, Invite, Invited, PageRequest, Shown, UseLink};
use sha2::{Digest as _, Sha256};

use crate::{Organization, TestServer};

/// How long sessions and links made here last, and how long a confirmation holds.
const LASTING: SignedDuration = SignedDuration::from_hours(12);

/// An organization that people belong to.
#[derive(Debug, Clone)]
pub struct Team {
    /// The organization.
    pub id: OrganizationId,
    /// Its first owner.
    pub owner: PersonId,
}

impl Team {
    /// The address of a page of this organization: `path` begins with a slash or is empty.
    pub fn at(&self, environment: &str, path: &str) -> String {
        format!("/portal/{}/{environment}{path}", self.id)
    }

    /// As the other functions here take it.
    pub fn organization(&self) -> Organization {
        Organization { id: self.id }
    }
}

/// An answer of the portal.
#[derive(Debug, Clone)]
pub struct Sight {
    /// The status.
    pub status: u16,
    /// All headers, by name in small letters; of several with one name all.
    pub headers: Vec<(String, String)>,
    /// The page.
    pub html: String,
}

impl Sight {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Where it leads on.
    pub fn location(&self) -> Option<&str> {
        self.header("location")
    }

    /// Whether this text is in the page, as it is written in HTML.
    pub fn has(&self, html: &str) -> bool {
        self.html.contains(html)
    }

    /// The value of the first attribute written so, such as `name="csrf" value`.
    pub fn attribute(&self, written: &str) -> Option<&str> {
        let (_, rest) = self.html.split_once(&format!("{written}=\""))?;
        rest.split('"').next()
    }

    /// The text between the tags of the element with this id, as it is written in HTML.
    pub fn text_of(&self, id: &str) -> Option<&str> {
        let (_, rest) = self.html.split_once(&format!("id=\"{id}\""))?;
        let (_, rest) = rest.split_once('>')?;
        rest.split('<').next()
    }
}

/// Somebody at the portal: what a browser keeps of it.
pub struct Visitor {
    client: Client,
    /// The cookies that were set.
    pub cookies: BTreeMap<String, String>,
    /// What forms hold, as the last page had it.
    pub token: Option<String>,
    /// Who it is, if somebody.
    pub person: Option<PersonId>,
    session: Option<PortalSessionId>,
}

impl Visitor {
    /// Asks for anything, with exactly these headers beside the cookies.
    pub async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Sight {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut all = headers.to_vec();
        if !cookies.is_empty() {
            all.push(("cookie", &cookies));
        }
        let answer = self.client.request(method, path, &all, body).await.expect("an answer");
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().expect("text");
            let (name, value) = cookie.split(';').next().and_then(|pair| pair.split_once('=')).expect("a pair");
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = answer.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes())));
        let sight = Sight { status: answer.status, headers: headers.collect(), html: text(&answer.body) };
        if let Some(token) = sight.attribute("name=\"csrf\" value") {
            self.token = Some(token.to_owned());
        }
        sight
    }

    /// Opens a page. Redirections are not followed.
    pub async fn get(&mut self, path: &str) -> Sight {
        self.ask("GET", path, &[], Body::Empty).await
    }

    /// Sends a form as a page of ours would: with the token of the last page that had one.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Sight {
        let token = self.token.clone().unwrap_or_default();
        let mut all = vec![("csrf", token.as_str())];
        all.extend(fields);
        self.send(path, &all).await
    }

    /// Sends a form with exactly these fields.
    pub async fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> Sight {
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")];
        self.ask("POST", path, &headers, Body::Raw(encoded(fields).into_bytes())).await
    }

    /// Sends a form and opens the page that it leads to.
    ///
    /// # Panics
    /// When it leads nowhere.
    pub async fn post_and_follow(&mut self, path: &str, fields: &[(&str, &str)]) -> Sight {
        let answer = self.post(path, fields).await;
        let to = answer.location().unwrap_or_else(|| panic!("{path} leads nowhere: {answer:?}"));
        assert_eq!(answer.status, 303, "{path}");
        self.get(to).await
    }
}

/// Fields as a form sends them.
pub fn encoded(fields: &[(&str, &str)]) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        other => format!("%{other:02X}"),
    };
    let text = |text: &str| text.bytes().map(byte).collect::<String>();
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{}={}", text(name), text(value))).collect();
    pairs.join("&")
}

impl TestServer {
    /// Somebody who comes to the portal and is not signed in.
    pub fn visitor(&self) -> Visitor {
        let client = Client::new(&self.base_url(), None).expect("a client");
        Visitor { client, cookies: BTreeMap::new(), token: None, person: None, session: None }
    }

    /// A code that nobody can guess, and what is stored of it.
    fn code(&self) -> (String, CodeHash) {
        let bytes: [u8; CODE_CHARS] = kallglot_core::random::bytes(self.app.random.as_ref());
        let code: String = bytes.iter().map(|byte| char::from(b'a' + byte % 16)).collect();
        let hash = CodeHash(Sha256::digest(code.as_bytes()).into());
        (code, hash)
    }

    fn new_person(&self, name: &str, is_operator: bool) -> Person {
        let now = self.clock.now();
        let id = PersonId::new(now, self.app.random.as_ref());
        let email = format!("{}@example.com", id.to_string().to_lowercase());
        Person { id, email, name: name.into(), is_operator, password_changed_at: None, created_at: now }
    }

    /// The server's operator, who has an organization too: the first account, made when it is asked for first.
    pub async fn operator(&self) -> PersonId {
        let everybody = self.app.storage.people_for_operator(&PageRequest::newest(100)).await.expect("people");
        if let Some(operator) = everybody.items.iter().find(|person| person.is_operator) {
            return operator.id;
        }
        let (now, (_, code), person) = (self.clock.now(), self.code(), self.new_person("Olga Operator", true));
        let id = PortalLinkId::new(now, self.app.random.as_ref());
        let link = PortalLink::Setup { id, created_at: now, expires_at: now + LASTING };
        self.app.storage.create_link(&link, &code, &self.change()).await.expect("a link");
        let organization = self.new_organization("Operators");
        let made = self.app.storage.set_up(&code, &person, None, &organization, 0, &self.change()).await;
        assert_eq!(made.expect("an account"), UseLink::Done(()));
        person.id
    }

    /// An organization on the plan Pro with 1000 credits, and somebody who owns it: not the operator.
    pub async fn team(&self, name: &str) -> Team {
        let operator = self.operator().await;
        let organization = self.new_organization(name);
        let id = organization.id;
        let made = self.app.storage.create_organization_of(operator, &organization, 1000, &self.change()).await;
        assert!(made.expect("an organization"));
        let owner = self.join(&Team { id, owner: operator }, Role::Owner, "Nora Owner").await;
        self.app.storage.remove_member(id, operator, operator, &self.change()).await.expect("it is removed");
        Team { id, owner }
    }

    async fn join(&self, team: &Team, role: Role, name: &str) -> PersonId {
        let (now, (_, code), person) = (self.clock.now(), self.code(), self.new_person(name, false));
        let invitation = Invitation {
            id: PortalLinkId::new(now, self.app.random.as_ref()),
            organization: team.id,
            organization_name: String::new(),
            role,
            email: person.email.clone(),
            made_by: team.owner,
            created_at: now,
            expires_at: now + LASTING,
        };
        let invited = self.app.storage.invite(&invitation, &code, &self.change()).await;
        assert_eq!(invited.expect("an invitation"), Invite::Made);
        let id = person.id;
        let invited = Invited::New(Box::new(person), None);
        let joined = self.app.storage.accept_invitation(&code, &invited, &self.change()).await;
        assert_eq!(joined.expect("a member"), UseLink::Done(team.id));
        id
    }

    /// Somebody new of this role in an organization, signed in.
    pub async fn member(&self, team: &Team, role: Role) -> Visitor {
        let name = format!("{} of the team", role.title());
        let person = self.join(team, role, &name).await;
        self.signed_in(person).await
    }

    /// Somebody in another browser, who has not confirmed who they are lately.
    pub async fn signed_in(&self, person: PersonId) -> Visitor {
        let (now, (cookie, hash)) = (self.clock.now(), self.code());
        let session = PortalSession {
            id: PortalSessionId::new(now, self.app.random.as_ref()),
            person,
            pending: false,
            created_at: now,
            seen_at: now,
            expires_at: now + LASTING,
            fresh_until: None,
            user_agent: "test".into(),
            address: None,
        };
        let opened = self.app.storage.open_portal_session(&session, &hash, &Shown::Once, &self.change()).await;
        assert!(opened.expect("a session"));
        let mut visitor = self.visitor();
        visitor.cookies.insert("kallglot_session".into(), cookie);
        visitor.person = Some(person);
        visitor.session = Some(session.id);
        visitor
    }

    /// Makes as if they had just confirmed who they are.
    ///
    /// # Panics
    /// For somebody who is not signed in.
    pub async fn confirm(&self, visitor: &Visitor) {
        let id = visitor.session.expect("somebody who is signed in");
        let until = self.clock.now() + LASTING;
        assert!(self.app.storage.freshen_portal_session(id, until).await.expect("a session"));
    }
}
