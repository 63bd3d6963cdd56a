//! What people, their memberships, sessions and links promise.

use futures_util::future::{join, join_all};
use kallglot_core::Timestamp;
use kallglot_core::audit::{AuditAction, AuditEntry, Change, Who};
use kallglot_core::id::{OrganizationId, PersonId, PortalLinkId, PortalSessionId};
use kallglot_core::person::{Invitation, Member, Membership, Person, PortalLink, PortalSession, Role};

use super::example::{at, change, organization};
use crate::changes::Changes;
use crate::people::{ATTEMPTS_FREE, ATTEMPTS_KEPT_S, INVITATIONS_MAX, PORTAL_SESSIONS_MAX};
use crate::{Attempt, ChangeMember, CodeHash, Invite, Invited, PageRequest, PasswordHash, Shown, Storage, UseLink};

const ORGANIZATION: OrganizationId = OrganizationId::from_bits(1);
const OWNER: PersonId = PersonId::from_bits(1);

/// Person `number`; a larger number is a newer one.
fn person(number: u128) -> Person {
    Person {
        id: PersonId::from_bits(number),
        email: format!("åsa{number}@example.com"),
        name: format!("Åsa {number}"),
        is_operator: number == 1,
        password_changed_at: Some(at(1)),
        created_at: at(1),
    }
}

fn code(number: u8) -> CodeHash {
    CodeHash([number; 32])
}

fn password(text: &str) -> PasswordHash {
    PasswordHash(text.into())
}

/// A change by a person of this number.
fn by(who: u128, number: u128, second: i64) -> Change {
    Change { who: Who::Person(PersonId::from_bits(who)), ..change(number, second) }
}

fn setup_link(number: u128) -> PortalLink {
    PortalLink::Setup { id: PortalLinkId::from_bits(number), created_at: at(0), expires_at: at(1000) }
}

fn invitation(number: u128, email: &str, role: Role, made_by: PersonId) -> Invitation {
    Invitation {
        id: PortalLinkId::from_bits(number),
        organization: ORGANIZATION,
        organization_name: organization(1).name,
        role,
        email: email.into(),
        made_by,
        created_at: at(10),
        expires_at: at(1000),
    }
}

fn session(number: u128, person: u128, second: i64) -> PortalSession {
    PortalSession {
        id: PortalSessionId::from_bits(number),
        person: PersonId::from_bits(person),
        pending: false,
        created_at: at(second),
        seen_at: at(second),
        expires_at: at(second + 1000),
        fresh_until: Some(at(second + 100)),
        user_agent: "Browser/1 \"ü\"".into(),
        address: Some("2001:db8::7".parse().unwrap()),
    }
}

/// Person 1, the operator and owner of organization 1, which was made with them.
async fn begin(storage: &impl Storage) {
    storage.create_link(&setup_link(1), &code(1), &change(1, 0)).await.unwrap();
    let done = storage.set_up(&code(1), &person(1), Some(&password("first")), &organization(1), 20, &by(1, 2, 1)).await;
    assert_eq!(done, Ok(UseLink::Done(())));
}

/// Then person `number` as `role`, by invitation `number` with the code of that number.
async fn add(storage: &impl Storage, number: u8, role: Role) {
    let (wide, email) = (u128::from(number), person(number.into()).email);
    let invited = invitation(wide, &email, role, OWNER);
    assert_eq!(storage.invite(&invited, &code(number), &by(1, 100 + wide, 10)).await, Ok(Invite::Made));
    let new = Invited::New(Box::new(person(wide)), Some(password("theirs")));
    let accepted = storage.accept_invitation(&code(number), &new, &by(wide, 200 + wide, 20)).await;
    assert_eq!(accepted, Ok(UseLink::Done(ORGANIZATION)));
}

/// Signs person 1 in as session `number` with the cookie of that number.
async fn sign_in(storage: &impl Storage, number: u8, second: i64) {
    let shown = Shown::Password(password("first"));
    let new = session(number.into(), 1, second);
    let change = change(300 + u128::from(number), second);
    assert_eq!(storage.open_portal_session(&new, &code(number), &shown, &change).await, Ok(true));
}

async fn audit(storage: &impl Storage) -> Vec<AuditEntry> {
    storage.audit_log(ORGANIZATION, &crate::AuditFilter::default(), &PageRequest::newest(100)).await.unwrap().items
}

async fn roles(storage: &impl Storage) -> Vec<(u128, Role)> {
    let members = storage.members(ORGANIZATION).await.unwrap();
    members.iter().map(|member| (member.person.id.to_bits(), member.role)).collect()
}

/// Something in every table of people, for a storage in which organization 1 is.
pub(super) async fn fill(storage: &impl Storage) {
    storage.create_link(&setup_link(1), &code(1), &change(701, 0)).await.unwrap();
    let own = organization(77);
    storage.set_up(&code(1), &person(1), Some(&password("$argon2id$")), &own, 0, &by(1, 702, 1)).await.unwrap();
    let new = session(1, 1, 50);
    assert!(storage.open_portal_session(&new, &code(2), &Shown::Once, &change(703, 50)).await.unwrap());
    storage.count_attempt("nobody", &change(704, 50)).await.unwrap();
}

pub async fn the_first_account_is_made_once(storage: &impl Storage) {
    assert!(!storage.has_people().await.unwrap());
    for number in 1..=4 {
        storage.create_link(&setup_link(number.into()), &code(number), &change(number.into(), 0)).await.unwrap();
    }
    let wrong = storage.set_up(&code(9), &person(1), None, &organization(1), 5, &by(1, 9, 1)).await;
    assert_eq!(wrong, Ok(UseLink::Invalid));
    let late = storage.set_up(&code(1), &person(1), None, &organization(1), 5, &by(1, 9, 1000)).await;
    assert_eq!(late, Ok(UseLink::Invalid));
    assert!(!storage.has_people().await.unwrap());

    // By four links at once, each of which is good.
    let attempts = (1..=4).map(|number: u8| async move {
        let person = person(number.into());
        let organization = organization(number.into());
        let change = by(number.into(), 10, 1);
        storage.set_up(&code(number), &person, Some(&password("p")), &organization, 5, &change).await.unwrap()
    });
    let done = join_all(attempts).await;
    assert_eq!(done.iter().filter(|done| **done == UseLink::Done(())).count(), 1, "{done:?}");
    assert_eq!(done.iter().filter(|done| **done == UseLink::Invalid).count(), 3, "{done:?}");
    let people = storage.people_for_operator(&PageRequest::newest(10)).await.unwrap().items;
    let organizations = storage.organizations_for_operator(&PageRequest::newest(10)).await.unwrap().items;
    assert_eq!((people.len(), organizations.len()), (1, 1), "nothing is left of the others");
    let memberships = storage.memberships(people[0].id).await.unwrap();
    let owned = Membership {
        organization: organizations[0].id,
        organization_name: organizations[0].name.clone(),
        role: Role::Owner,
    };
    assert_eq!(memberships, [owned]);
    let credits = storage.credit_balance(organizations[0].id).await.unwrap().unwrap();
    assert_eq!(credits.remaining, 5);
}

pub async fn a_person_is_kept_as_they_were_made(storage: &impl Storage) {
    begin(storage).await;
    assert_eq!(storage.person(OWNER).await, Ok(Some(person(1))));
    let found = storage.person_of_email("åsa1@example.com").await;
    assert_eq!(found, Ok(Some((person(1), Some(password("first"))))));
    assert_eq!(storage.password_of(OWNER).await, Ok(Some(password("first"))));
    assert_eq!(storage.person_of_email("åsa2@example.com").await, Ok(None));
    assert_eq!(storage.person(PersonId::from_bits(2)).await, Ok(None));

    assert_eq!(storage.rename_person(OWNER, "Örjan").await, Ok(true));
    assert_eq!(storage.rename_person(PersonId::from_bits(2), "Örjan").await, Ok(false));
    assert_eq!(storage.person(OWNER).await.unwrap().unwrap().name, "Örjan");
    storage.rehash_password(OWNER, &password("other"), &password("worse")).await.unwrap();
    storage.rehash_password(OWNER, &password("first"), &password("better")).await.unwrap();
    assert_eq!(storage.password_of(OWNER).await, Ok(Some(password("better"))));
}

pub async fn a_session_is_found_by_its_cookie_until_it_ends(storage: &impl Storage) {
    begin(storage).await;
    sign_in(storage, 1, 100).await;
    let found = storage.portal_session(&code(1), at(1099)).await.unwrap().unwrap();
    assert_eq!((&found.session, &found.person), (&session(1, 1, 100), &person(1)));
    assert_eq!(found.memberships, storage.memberships(OWNER).await.unwrap());
    assert_eq!(storage.portal_session(&code(1), at(1100)).await, Ok(None), "its time is over");
    assert_eq!(storage.portal_session(&code(2), at(100)).await, Ok(None));

    let id = PortalSessionId::from_bits(1);
    storage.touch_portal_session(id, at(200), at(2000)).await.unwrap();
    storage.touch_portal_session(id, at(150), at(1500)).await.unwrap();
    assert!(storage.freshen_portal_session(id, at(300)).await.unwrap());
    let found = storage.portal_session(&code(1), at(1999)).await.unwrap().unwrap().session;
    let expected =
        PortalSession { seen_at: at(200), expires_at: at(2000), fresh_until: Some(at(300)), ..session(1, 1, 100) };
    assert_eq!(found, expected);
    assert_eq!(storage.members(ORGANIZATION).await.unwrap()[0].seen_at, Some(at(200)));

    assert_eq!(storage.close_portal_session(PersonId::from_bits(2), id).await, Ok(false), "it is another person's");
    assert_eq!(storage.close_portal_session(OWNER, id).await, Ok(true));
    assert_eq!(storage.close_portal_session(OWNER, id).await, Ok(false));
    assert_eq!(storage.portal_session(&code(1), at(300)).await, Ok(None));
    assert_eq!(audit(storage).await[0].action, AuditAction::PersonSignedIn);
}

pub async fn a_person_has_a_bounded_number_of_sessions(storage: &impl Storage) {
    begin(storage).await;
    let all = PORTAL_SESSIONS_MAX as u8 + 1;
    for number in 1..=all {
        sign_in(storage, number, 100 + i64::from(number)).await;
    }
    assert_eq!(storage.portal_session(&code(1), at(200)).await, Ok(None), "the one used least recently has ended");
    let sessions = storage.portal_sessions(OWNER, at(200)).await.unwrap();
    assert_eq!(sessions.len(), PORTAL_SESSIONS_MAX as usize);
    assert_eq!(sessions[0].id.to_bits(), u128::from(all), "newest first");

    let kept = Some(sessions[3].id);
    assert_eq!(storage.close_portal_sessions(OWNER, kept).await, Ok(u64::from(PORTAL_SESSIONS_MAX) - 1));
    assert_eq!(storage.portal_sessions(OWNER, at(200)).await.unwrap(), [sessions[3].clone()]);
    assert_eq!(storage.close_portal_sessions(OWNER, None).await, Ok(1));
}

pub async fn a_second_factor_replaces_what_waits_for_it_once(storage: &impl Storage) {
    begin(storage).await;
    let waiting = PortalSession { pending: true, fresh_until: None, ..session(1, 1, 100) };
    let shown = Shown::Password(password("first"));
    assert_eq!(storage.open_portal_session(&waiting, &code(1), &shown, &change(10, 100)).await, Ok(true));
    assert!(storage.portal_session(&code(1), at(101)).await.unwrap().unwrap().session.pending);
    assert_eq!(storage.portal_sessions(OWNER, at(101)).await, Ok(vec![]), "nobody is signed in");
    assert_eq!(storage.freshen_portal_session(waiting.id, at(900)).await, Ok(false));

    let shown = Shown::SecondFactor(waiting.id);
    let both =
        [2u8, 3].map(|number| {
            let (new, shown) = (session(number.into(), 1, 110), &shown);
            async move {
                storage.open_portal_session(&new, &code(number), shown, &change(10 + u128::from(number), 110)).await
            }
        });
    let mut opened: Vec<_> = join_all(both).await.into_iter().map(Result::unwrap).collect();
    opened.sort_unstable();
    assert_eq!(opened, [false, true]);
    assert_eq!(storage.portal_session(&code(1), at(111)).await, Ok(None));
    let signed_in = audit(storage).await.iter().filter(|entry| entry.action == AuditAction::PersonSignedIn).count();
    assert_eq!(signed_in, 1);
}

pub async fn a_new_password_ends_what_the_old_one_opened(storage: &impl Storage) {
    begin(storage).await;
    sign_in(storage, 1, 100).await;
    sign_in(storage, 2, 101).await;
    let waiting = PortalSession { pending: true, ..session(3, 1, 102) };
    let shown = Shown::Password(password("first"));
    assert!(storage.open_portal_session(&waiting, &code(3), &shown, &change(10, 102)).await.unwrap());
    let reset = PortalLink::PasswordReset {
        id: PortalLinkId::from_bits(5),
        person: OWNER,
        email: person(1).email,
        created_at: at(100),
        expires_at: at(500),
    };
    storage.create_link(&reset, &code(5), &change(11, 100)).await.unwrap();

    let kept = PortalSessionId::from_bits(1);
    assert_eq!(storage.set_password(OWNER, &password("second"), Some(kept), &by(1, 900, 110)).await, Ok(true));
    assert!(storage.portal_session(&code(1), at(111)).await.unwrap().is_some());
    assert_eq!(storage.portal_session(&code(2), at(111)).await, Ok(None));
    assert_eq!(storage.portal_session(&code(3), at(111)).await, Ok(None));
    assert_eq!(storage.link_of_code(&code(5), at(111)).await, Ok(None), "nor does an older link change it back");
    // Somebody who had shown the old password just before.
    let late = storage.open_portal_session(&session(4, 1, 111), &code(4), &shown, &change(13, 111)).await;
    assert_eq!(late, Ok(false));
    let found = storage.person(OWNER).await.unwrap().unwrap();
    assert_eq!(found.password_changed_at, Some(at(110)));
    assert_eq!(audit(storage).await[0].action, AuditAction::PasswordChanged);
    let nobody = storage.set_password(PersonId::from_bits(9), &password("x"), None, &by(9, 14, 112)).await;
    assert_eq!(nobody, Ok(false));
}

pub async fn a_password_is_reset_by_a_link_once(storage: &impl Storage) {
    begin(storage).await;
    sign_in(storage, 1, 100).await;
    let reset = PortalLink::PasswordReset {
        id: PortalLinkId::from_bits(5),
        person: OWNER,
        email: person(1).email,
        created_at: at(100),
        expires_at: at(500),
    };
    storage.create_link(&reset, &code(5), &change(11, 100)).await.unwrap();
    assert_eq!(storage.link_of_code(&code(5), at(499)).await, Ok(Some(reset)));
    assert_eq!(storage.link_of_code(&code(5), at(500)).await, Ok(None));
    assert_eq!(storage.link_of_code(&code(6), at(200)).await, Ok(None));

    let all = (0..6u128).map(|number| async move {
        let change = change(900 + number, 200);
        storage.reset_password(&code(5), &password(&format!("by {number}")), &change).await.unwrap()
    });
    let done = join_all(all).await;
    assert_eq!(done.iter().filter(|done| **done == UseLink::Done(OWNER)).count(), 1, "{done:?}");
    assert_eq!(done.iter().filter(|done| **done == UseLink::Invalid).count(), 5, "{done:?}");
    let winner = done.iter().position(|done| *done == UseLink::Done(OWNER)).unwrap();
    assert_eq!(storage.password_of(OWNER).await, Ok(Some(password(&format!("by {winner}")))));
    assert_eq!(storage.portal_session(&code(1), at(201)).await, Ok(None), "whoever was signed in is not any more");
    let entries = audit(storage).await;
    assert_eq!((entries[0].action, entries[0].change.who), (AuditAction::PasswordReset, Who::Person(OWNER)));
    let wrong_kind = storage.accept_invitation(&code(5), &Invited::Known(OWNER), &by(1, 30, 201)).await;
    assert_eq!(wrong_kind, Ok(UseLink::Invalid));
}

pub async fn an_invitation_makes_a_member_once(storage: &impl Storage) {
    begin(storage).await;
    let email = person(2).email;
    let asked = invitation(2, &email, Role::Developer, OWNER);
    assert_eq!(storage.invite(&asked, &code(2), &by(1, 10, 10)).await, Ok(Invite::Made));
    assert_eq!(storage.invitations(ORGANIZATION, at(11)).await, Ok(vec![asked.clone()]));
    assert_eq!(storage.invitations(OrganizationId::from_bits(2), at(11)).await, Ok(vec![]));
    assert_eq!(storage.invitations(ORGANIZATION, at(1000)).await, Ok(vec![]));
    assert_eq!(storage.link_of_code(&code(2), at(11)).await, Ok(Some(PortalLink::Invitation(asked))));

    let all = (2..=5u128).map(|number| async move {
        let new = Invited::New(Box::new(Person { email: "not@this.one".into(), ..person(number) }), None);
        storage.accept_invitation(&code(2), &new, &by(number, 10 + number, 20)).await.unwrap()
    });
    let done = join_all(all).await;
    assert_eq!(done.iter().filter(|done| **done == UseLink::Done(ORGANIZATION)).count(), 1, "{done:?}");
    let members = storage.members(ORGANIZATION).await.unwrap();
    let new: Vec<&Member> = members.iter().filter(|member| member.person.id != OWNER).collect();
    assert_eq!((new.len(), new[0].role, new[0].since), (1, Role::Developer, at(20)));
    assert_eq!(new[0].person.email, email, "the address that was invited");
    assert_eq!(new[0].person.password_changed_at, None, "an account without a password");
    let entries = audit(storage).await;
    assert_eq!(entries[0].action, AuditAction::MemberJoined);
    assert_eq!(entries[0].change.who, Who::Person(new[0].person.id));
    assert_eq!(entries[0].changes["role"], (String::new(), "developer".into()));
    assert_eq!(entries[1].action, AuditAction::MemberInvited);
}

pub async fn who_has_an_account_joins_with_it(storage: &impl Storage) {
    begin(storage).await;
    add(storage, 2, Role::ReadOnly).await;
    let second = OrganizationId::from_bits(2);
    assert_eq!(storage.create_organization_of(OWNER, &organization(2), 0, &by(1, 10, 30)).await, Ok(true));
    let known = PersonId::from_bits(2);
    let asked = Invitation { organization: second, ..invitation(7, &person(2).email, Role::Admin, OWNER) };
    assert_eq!(storage.invite(&asked, &code(7), &by(1, 11, 31)).await, Ok(Invite::Made));

    let anew = Invited::New(Box::new(person(3)), None);
    assert_eq!(storage.accept_invitation(&code(7), &anew, &by(3, 12, 32)).await, Ok(UseLink::EmailTaken));
    let other = storage.accept_invitation(&code(7), &Invited::Known(OWNER), &by(1, 13, 32)).await;
    assert_eq!(other, Ok(UseLink::NotForYou), "the link is for another address");
    let joined = storage.accept_invitation(&code(7), &Invited::Known(known), &by(2, 14, 33)).await;
    assert_eq!(joined, Ok(UseLink::Done(second)));
    let roles: Vec<_> =
        storage.memberships(known).await.unwrap().iter().map(|one| (one.organization.to_bits(), one.role)).collect();
    assert_eq!(roles, [(1, Role::ReadOnly), (2, Role::Admin)]);
}

pub async fn who_may_invite_whom(storage: &impl Storage) {
    begin(storage).await;
    add(storage, 2, Role::Admin).await;
    add(storage, 3, Role::Developer).await;
    let stranger = PersonId::from_bits(9);
    let id = PersonId::from_bits;
    let cases = [
        (id(2), Role::Admin, Invite::Made),
        (id(2), Role::Owner, Invite::Forbidden),
        (id(3), Role::ReadOnly, Invite::Forbidden),
        (stranger, Role::ReadOnly, Invite::Forbidden),
        (OWNER, Role::Owner, Invite::Made),
    ];
    for (number, (who, role, expected)) in cases.into_iter().enumerate() {
        let number = 40 + number as u8;
        let asked = invitation(number.into(), &format!("{number}@example.com"), role, who);
        let made = storage.invite(&asked, &code(number), &by(who.to_bits(), number.into(), 30)).await;
        assert_eq!(made, Ok(expected), "{who} invites as {role}");
    }
    let member = invitation(50, &person(2).email, Role::Developer, OWNER);
    assert_eq!(storage.invite(&member, &code(50), &by(1, 50, 31)).await, Ok(Invite::Member));

    // The second one to an address replaces the first.
    let again = invitation(51, "40@example.com", Role::Developer, OWNER);
    assert_eq!(storage.invite(&again, &code(51), &by(1, 51, 31)).await, Ok(Invite::Made));
    assert_eq!(storage.link_of_code(&code(40), at(32)).await, Ok(None));
    let waiting = storage.invitations(ORGANIZATION, at(32)).await.unwrap();
    assert_eq!(waiting.iter().filter(|one| one.email == "40@example.com").count(), 1);

    let taken_back = storage.withdraw_invitation(ORGANIZATION, PortalLinkId::from_bits(51), &by(1, 52, 33)).await;
    assert_eq!(taken_back, Ok(true));
    assert_eq!(storage.link_of_code(&code(51), at(34)).await, Ok(None));
    let elsewhere =
        storage.withdraw_invitation(OrganizationId::from_bits(2), PortalLinkId::from_bits(44), &by(1, 53, 33)).await;
    assert_eq!(elsewhere, Ok(false), "another organization's invitations are strangers");
    assert_eq!(audit(storage).await.iter().filter(|one| one.action == AuditAction::InvitationWithdrawn).count(), 1);
}

pub async fn an_organization_has_a_bounded_number_of_invitations(storage: &impl Storage) {
    begin(storage).await;
    for number in 0..=INVITATIONS_MAX {
        let (wide, small) = (u128::from(number) + 10, number as u8 + 10);
        let asked = invitation(wide, &format!("{number}@example.com"), Role::Developer, OWNER);
        let expected = if number < INVITATIONS_MAX { Invite::Made } else { Invite::TooMany };
        assert_eq!(storage.invite(&asked, &code(small), &by(1, 100 + wide, 30)).await, Ok(expected));
    }
    let replaced = invitation(500, "7@example.com", Role::Developer, OWNER);
    assert_eq!(storage.invite(&replaced, &code(255), &by(1, 500, 31)).await, Ok(Invite::Made));
}

pub async fn an_organization_keeps_an_owner(storage: &impl Storage) {
    begin(storage).await;
    add(storage, 2, Role::Owner).await;
    let second = PersonId::from_bits(2);
    // Each of two owners wants to be no owner any more, in different ways, at once.
    let (demotion, leaving) = (by(1, 10, 30), by(2, 11, 30));
    let (demoted, left) = join(
        storage.change_role(ORGANIZATION, OWNER, Role::Admin, OWNER, &demotion),
        storage.remove_member(ORGANIZATION, second, second, &leaving),
    )
    .await;
    let done = [demoted.unwrap(), left.unwrap()];
    assert!(done.contains(&ChangeMember::Done(Role::Owner)), "{done:?}");
    assert!(done.contains(&ChangeMember::LastOwner), "{done:?}");
    let owners = roles(storage).await.into_iter().filter(|(_, role)| *role == Role::Owner).count();
    assert_eq!(owners, 1);
}

pub async fn who_may_change_whom(storage: &impl Storage) {
    begin(storage).await;
    for (number, role) in [(2, Role::Owner), (3, Role::Admin), (4, Role::Developer), (5, Role::ReadOnly)] {
        add(storage, number, role).await;
    }
    let id = PersonId::from_bits;
    let done = ChangeMember::Done;
    // Who changes whom to what.
    let cases = [
        (3, 4, Role::Admin, done(Role::Developer)),
        (3, 4, Role::Owner, ChangeMember::Forbidden),
        (3, 2, Role::Developer, ChangeMember::Forbidden),
        (5, 4, Role::ReadOnly, ChangeMember::Forbidden),
        (9, 4, Role::ReadOnly, ChangeMember::Forbidden),
        (1, 9, Role::ReadOnly, ChangeMember::NotFound),
        (2, 1, Role::Developer, done(Role::Owner)),
        (1, 2, Role::Developer, ChangeMember::Forbidden),
        (2, 1, Role::Owner, done(Role::Developer)),
    ];
    for (number, (who, whom, role, expected)) in (630u32..).zip(cases) {
        let changed =
            storage.change_role(ORGANIZATION, id(whom), role, id(who), &by(who, number.into(), number.into())).await;
        assert_eq!(changed, Ok(expected), "{who} makes {whom} {role}");
    }
    for (number, who, whom, expected) in [
        (660u32, 4, 2, ChangeMember::Forbidden),
        (661u32, 5, 4, ChangeMember::Forbidden),
        (662u32, 5, 5, done(Role::ReadOnly)),
        (663u32, 5, 4, ChangeMember::Forbidden),
        (664u32, 3, 4, done(Role::Admin)),
        (665u32, 1, 2, done(Role::Owner)),
        (666u32, 1, 1, ChangeMember::LastOwner),
    ] {
        let removed =
            storage.remove_member(ORGANIZATION, id(whom), id(who), &by(who, number.into(), number.into())).await;
        assert_eq!(removed, Ok(expected), "{who} removes {whom}");
    }
    assert_eq!(roles(storage).await, [(1, Role::Owner), (3, Role::Admin)]);
    let elsewhere = storage.remove_member(OrganizationId::from_bits(2), id(3), id(1), &by(1, 680, 700)).await;
    assert_eq!(elsewhere, Ok(ChangeMember::NotFound));
    let last = &audit(storage).await[0];
    assert_eq!((last.action, last.object.as_str()), (AuditAction::MemberRemoved, id(2).to_string().as_str()));
    assert_eq!(last.changes["role"], ("owner".into(), String::new()));
}

pub async fn who_may_not_invite_any_more_has_invited_nobody(storage: &impl Storage) {
    begin(storage).await;
    add(storage, 2, Role::Admin).await;
    let admin = PersonId::from_bits(2);
    let asked = invitation(60, "new@example.com", Role::Admin, admin);
    assert_eq!(storage.invite(&asked, &code(60), &by(2, 10, 30)).await, Ok(Invite::Made));
    let removed = storage.remove_member(ORGANIZATION, admin, OWNER, &by(1, 11, 31)).await;
    assert_eq!(removed, Ok(ChangeMember::Done(Role::Admin)));
    assert_eq!(storage.link_of_code(&code(60), at(32)).await, Ok(None));
}

pub async fn attempts_to_sign_in_are_counted_before_they_are_made(storage: &impl Storage) {
    begin(storage).await;
    let account = OWNER.to_string();
    let all = (0..40u128).map(|number| {
        let (account, change) = (&account, change(100 + number, 100));
        async move { storage.count_attempt(account, &change).await.unwrap() }
    });
    let made = join_all(all).await;
    let allowed = made.iter().filter(|one| **one == Attempt::Allowed).count();
    assert_eq!(allowed, ATTEMPTS_FREE as usize, "however many come at once");
    assert!(made.contains(&Attempt::Locked(at(160))), "{made:?}");
    let locked: Vec<_> =
        audit(storage).await.into_iter().filter(|entry| entry.action == AuditAction::PersonLocked).collect();
    assert_eq!(locked.len(), 1, "told once");

    // Then one at a time, after waits that grow up to an hour.
    let mut now = at(160);
    for (number, wait_s) in (200..).zip([120, 240, 480, 960, 1920, 3600, 3600]) {
        let attempt = async |number: u128, at: Timestamp| {
            storage.count_attempt(&account, &Change { at, ..change(number, 0) }).await.unwrap()
        };
        assert_eq!(attempt(number, now).await, Attempt::Allowed);
        let until = Timestamp::from_second(now.as_second() + wait_s).unwrap();
        let Attempt::Locked(told) = attempt(900, now).await else { panic!("let in at {now}") };
        assert_eq!(told.as_second(), until.as_second());
        now = told;
    }
    assert_eq!(
        storage.count_attempt("nobody-7", &change(300, 100)).await,
        Ok(Attempt::Allowed),
        "others need not wait"
    );
    storage.forget_attempts(&account).await.unwrap();
    for number in 400..409 {
        let change = Change { at: now, ..change(number, 0) };
        assert_eq!(storage.count_attempt(&account, &change).await, Ok(Attempt::Allowed));
    }
    let tomorrow = Timestamp::from_second(now.as_second() + ATTEMPTS_KEPT_S + 1).unwrap();
    for number in 500..510 {
        let change = Change { at: tomorrow, ..change(number, 0) };
        assert_eq!(storage.count_attempt(&account, &change).await, Ok(Attempt::Allowed), "older ones are forgotten");
    }
}

pub async fn signing_in_forgets_attempts(storage: &impl Storage) {
    begin(storage).await;
    let account = OWNER.to_string();
    for round in 0..3u8 {
        for number in 0..ATTEMPTS_FREE - 1 {
            let change = change(1000 + u128::from(round) * 100 + u128::from(number), 100);
            assert_eq!(storage.count_attempt(&account, &change).await, Ok(Attempt::Allowed));
        }
        sign_in(storage, 10 + round, 101).await;
    }
}

pub async fn what_concerns_a_person_is_told_to_each_organization(storage: &impl Storage) {
    begin(storage).await;
    let second = OrganizationId::from_bits(2);
    storage.create_organization_of(OWNER, &organization(2), 0, &by(1, 10, 30)).await.unwrap();
    let changes = Changes::from([("passkey".into(), (String::new(), "phone".into()))]);
    storage.audit_person(OWNER, AuditAction::PasswordChanged, &changes, &by(1, 11, 31)).await.unwrap();
    for organization in [ORGANIZATION, second] {
        let log = storage
            .audit_log(organization, &crate::AuditFilter::default(), &PageRequest::newest(1))
            .await
            .unwrap()
            .items;
        assert_eq!((log[0].action, &log[0].changes), (AuditAction::PasswordChanged, &changes));
        assert_eq!((log[0].object.as_str(), log[0].organization), (OWNER.to_string().as_str(), organization));
    }
}

pub async fn sessions_links_and_attempts_are_forgotten_in_their_time(storage: &impl Storage) {
    begin(storage).await;
    sign_in(storage, 1, 100).await;
    storage.count_attempt("nobody", &change(10, 100)).await.unwrap();
    assert_eq!(storage.forget(at(999), 100).await, Ok(0));
    assert_eq!(storage.forget(at(1000), 100).await, Ok(1), "the first owner's link, used or not");
    assert_eq!(storage.forget(at(1100), 100).await, Ok(1), "the session");
    assert_eq!(storage.forget(at(100 + ATTEMPTS_KEPT_S), 100).await, Ok(1), "the attempt");
}
