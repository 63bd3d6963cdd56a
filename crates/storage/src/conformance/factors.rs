//! What passkeys, authenticator apps, recovery codes and accounts at the provider promise.

use futures_util::future::{join, join_all};
use kallglot_core::audit::{AuditAction, Change, Who};
use kallglot_core::id::{OrganizationId, PasskeyId, PersonId, PortalLinkId};
use kallglot_core::organization::Organization;
use kallglot_core::person::{Invitation, Person, PortalLink, Role};

use super::example::{at, change, organization};
use crate::factors::PASSKEYS_MAX;
use crate::{
    AddPasskey, AuditFilter, CodeHash, Invite, LinkIdentity, OidcIdentity, PageRequest, Passkey, SignUp, Spent,
    Storage, Totp, UseLink, UsePasskey,
};

const ANN: PersonId = PersonId::from_bits(1);
const BOB: PersonId = PersonId::from_bits(2);

fn person(number: u128) -> Person {
    Person {
        id: PersonId::from_bits(number),
        email: format!("person{number}@example.com"),
        name: format!("Person {number}"),
        is_operator: false,
        password_changed_at: None,
        created_at: at(1),
    }
}

fn code(number: u8) -> CodeHash {
    CodeHash([number; 32])
}

/// Challenge `number`, which expires at second 100.
fn spent(number: u8) -> Spent {
    Spent { hash: code(number), expires_at: at(100) }
}

fn by(who: PersonId, number: u128, second: i64) -> Change {
    Change { who: Who::Person(who), ..change(number, second) }
}

/// Ann, who owns organization 1.
async fn begin(storage: &impl Storage) -> Organization {
    let link = PortalLink::Setup { id: PortalLinkId::from_bits(1), created_at: at(0), expires_at: at(1000) };
    storage.create_link(&link, &code(1), &change(1, 0)).await.unwrap();
    let own = organization(1);
    let done = storage.set_up(&code(1), &person(1), None, &own, 0, &by(ANN, 2, 1)).await;
    assert_eq!(done, Ok(UseLink::Done(())));
    own
}

async fn invite(storage: &impl Storage, into: &Organization, number: u128, email: &str, role: Role) {
    let invitation = Invitation {
        id: PortalLinkId::from_bits(number),
        organization: into.id,
        organization_name: into.name.clone(),
        role,
        email: email.into(),
        made_by: ANN,
        created_at: at(2),
        expires_at: at(1000),
    };
    let code = CodeHash([u8::try_from(number).unwrap(); 32]);
    assert_eq!(storage.invite(&invitation, &code, &by(ANN, 100 + number, 2)).await, Ok(Invite::Made));
}

fn passkey(number: u8, person: PersonId) -> Passkey {
    Passkey {
        id: PasskeyId::from_bits(number.into()),
        person,
        name: format!("Key {number}"),
        credential: vec![number; 20],
        public_key: vec![number; 77],
        sign_count: 0,
        backup_eligible: true,
        backed_up: false,
        created_at: at(2),
        last_used_at: None,
    }
}

fn identity(subject: &str, person: PersonId) -> OidcIdentity {
    OidcIdentity {
        issuer: "https://login.example.com".into(),
        subject: subject.into(),
        person,
        email: "person@example.com".into(),
        created_at: at(3),
        last_used_at: None,
    }
}

async fn actions(storage: &impl Storage, organization: OrganizationId) -> Vec<AuditAction> {
    let page = storage.audit_log(organization, &AuditFilter::default(), &PageRequest::newest(20)).await.unwrap();
    page.items.into_iter().map(|entry| entry.action).collect()
}

/// Puts something into every table, for person 1, who is there.
pub(super) async fn fill(storage: &impl Storage) {
    storage.add_passkey(&passkey(1, ANN), &spent(1), &by(ANN, 901, 60)).await.unwrap();
    let totp = Totp { sealed_secret: vec![1, 2, 3], created_at: at(60) };
    assert!(storage.set_totp(ANN, &totp, 7, &[code(1)], &by(ANN, 902, 60)).await.unwrap());
    storage.link_identity(&identity("ann", ANN), &by(ANN, 903, 60)).await.unwrap();
}

pub async fn a_passkey_is_kept_as_it_was_made_and_used(storage: &impl Storage) {
    let own = begin(storage).await;
    let mut first = passkey(1, ANN);
    assert_eq!(storage.add_passkey(&first, &spent(1), &by(ANN, 10, 2)).await, Ok(AddPasskey::Added));
    assert_eq!(storage.add_passkey(&passkey(2, ANN), &spent(2), &by(ANN, 11, 2)).await, Ok(AddPasskey::Added));
    // What authenticators know it by stands for one passkey only.
    let same = Passkey { id: PasskeyId::from_bits(3), ..passkey(1, ANN) };
    assert_eq!(storage.add_passkey(&same, &spent(3), &by(ANN, 12, 2)).await, Ok(AddPasskey::Taken));
    assert_eq!(storage.passkeys(ANN).await, Ok(vec![passkey(2, ANN), first.clone()]));

    let used = storage.use_passkey(ANN, first.id, 5, true, &spent(4), at(9)).await;
    assert_eq!(used, Ok(UsePasskey::Used));
    assert!(storage.rename_passkey(ANN, first.id, "Työpuhelin").await.unwrap());
    first = Passkey { sign_count: 5, backed_up: true, last_used_at: Some(at(9)), name: "Työpuhelin".into(), ..first };
    assert_eq!(storage.passkey_of_credential(&[1; 20]).await, Ok(Some(first.clone())));
    assert_eq!(storage.passkey_of_credential(&[9; 20]).await, Ok(None));

    assert!(storage.remove_passkey(ANN, first.id, &by(ANN, 13, 10)).await.unwrap());
    assert!(!storage.remove_passkey(ANN, first.id, &by(ANN, 14, 10)).await.unwrap());
    let gone = storage.use_passkey(ANN, first.id, 6, true, &spent(5), at(11)).await;
    assert_eq!((gone, storage.passkeys(ANN).await.unwrap().len()), (Ok(UsePasskey::NotFound), 1));
    let told = actions(storage, own.id).await;
    let count = |action| told.iter().filter(|one| **one == action).count();
    assert_eq!((count(AuditAction::PasskeyAdded), count(AuditAction::PasskeyRemoved)), (2, 1), "{told:?}");
}

pub async fn a_challenge_is_spent_once(storage: &impl Storage) {
    begin(storage).await;
    assert_eq!(storage.add_passkey(&passkey(1, ANN), &spent(1), &by(ANN, 10, 2)).await, Ok(AddPasskey::Added));
    let again = storage.add_passkey(&passkey(2, ANN), &spent(1), &by(ANN, 11, 2)).await;
    assert_eq!((again, storage.passkeys(ANN).await.unwrap().len()), (Ok(AddPasskey::Spent), 1));
    // An answer that comes four times at once counts once, though its authenticator does not count.
    let key = PasskeyId::from_bits(1);
    let uses = (0..4).map(|_| storage.use_passkey(ANN, key, 0, false, &CHALLENGE_2, at(9)));
    let uses: Vec<_> = join_all(uses).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(uses.iter().filter(|used| **used == UsePasskey::Used).count(), 1, "{uses:?}");
    assert_eq!(uses.iter().filter(|used| **used == UsePasskey::Spent).count(), 3, "{uses:?}");
    assert_eq!((storage.spend(&spent(3)).await, storage.spend(&spent(3)).await), (Ok(true), Ok(false)));
    // It is remembered until it would have expired.
    storage.forget(at(99), 100).await.unwrap();
    assert_eq!(storage.spend(&spent(3)).await, Ok(false));
    storage.forget(at(100), 100).await.unwrap();
    assert_eq!(storage.spend(&spent(3)).await, Ok(true));
}

const CHALLENGE_2: Spent = Spent { hash: CodeHash([2; 32]), expires_at: kallglot_core::Timestamp::MAX };

pub async fn a_passkey_whose_count_does_not_grow_is_a_copy(storage: &impl Storage) {
    begin(storage).await;
    storage.add_passkey(&passkey(1, ANN), &spent(1), &by(ANN, 10, 2)).await.unwrap();
    let key = PasskeyId::from_bits(1);
    for (number, sign_count, expected) in [
        (10, 0, UsePasskey::Used),
        (11, 3, UsePasskey::Used),
        (12, 3, UsePasskey::Copied),
        (13, 2, UsePasskey::Copied),
        (14, 0, UsePasskey::Copied),
        (15, 4, UsePasskey::Used),
    ] {
        let used = storage.use_passkey(ANN, key, sign_count, false, &spent(number), at(9)).await;
        assert_eq!(used, Ok(expected), "{sign_count}");
    }
    // Of two uses at once with one count, one is good.
    let (challenge, other) = (spent(20), spent(21));
    let (one, two) = join(
        storage.use_passkey(ANN, key, 9, false, &challenge, at(9)),
        storage.use_passkey(ANN, key, 9, false, &other, at(9)),
    )
    .await;
    let both = [one.unwrap(), two.unwrap()];
    assert!(both.contains(&UsePasskey::Used) && both.contains(&UsePasskey::Copied), "{both:?}");
}

pub async fn a_person_has_a_bounded_number_of_passkeys(storage: &impl Storage) {
    begin(storage).await;
    for number in 1..=u8::try_from(PASSKEYS_MAX).unwrap() {
        let change = by(ANN, 10 + u128::from(number), 2);
        let added = storage.add_passkey(&passkey(number, ANN), &spent(number), &change).await;
        assert_eq!(added, Ok(AddPasskey::Added));
    }
    let more = storage.add_passkey(&passkey(200, ANN), &spent(200), &by(ANN, 200, 2)).await;
    assert_eq!(more, Ok(AddPasskey::TooMany));
    assert_eq!(storage.passkeys(ANN).await.unwrap().len(), PASSKEYS_MAX as usize);
}

pub async fn a_persons_passkeys_are_nobody_elses(storage: &impl Storage) {
    let own = begin(storage).await;
    let join = Some((own.id, Role::Developer));
    let signed_up = storage.sign_up_with_identity(&person(2), &identity("bob", BOB), join, &change(3, 3)).await;
    assert_eq!(signed_up, Ok(SignUp::Done));
    storage.add_passkey(&passkey(1, ANN), &spent(1), &by(ANN, 10, 2)).await.unwrap();
    let key = PasskeyId::from_bits(1);
    assert_eq!(storage.passkeys(BOB).await, Ok(vec![]));
    assert!(!storage.rename_passkey(BOB, key, "Mine").await.unwrap());
    assert!(!storage.remove_passkey(BOB, key, &by(BOB, 11, 3)).await.unwrap());
    let used = storage.use_passkey(BOB, key, 1, false, &spent(2), at(9)).await;
    assert_eq!(used, Ok(UsePasskey::NotFound));
    assert_eq!(storage.passkeys(ANN).await, Ok(vec![passkey(1, ANN)]));
}

pub async fn a_code_of_an_app_is_used_once(storage: &impl Storage) {
    let own = begin(storage).await;
    assert_eq!(storage.totp(ANN).await, Ok(None));
    assert!(!storage.use_totp(ANN, 100).await.unwrap());
    let totp = Totp { sealed_secret: vec![1, 2, 3], created_at: at(3) };
    assert!(storage.set_totp(ANN, &totp, 100, &[code(1)], &by(ANN, 10, 3)).await.unwrap());
    let other = Totp { sealed_secret: vec![4], created_at: at(4) };
    assert!(!storage.set_totp(ANN, &other, 101, &[code(2)], &by(ANN, 11, 4)).await.unwrap());
    assert_eq!((storage.totp(ANN).await, storage.totp(BOB).await), (Ok(Some(totp)), Ok(None)));

    // The one that set it up is used, and so are those before it.
    assert!(!storage.use_totp(ANN, 100).await.unwrap());
    assert!(!storage.use_totp(ANN, 99).await.unwrap());
    let uses = join_all((0..4).map(|_| storage.use_totp(ANN, 101))).await;
    assert_eq!(uses.iter().filter(|used| **used == Ok(true)).count(), 1, "{uses:?}");
    assert!(storage.use_totp(ANN, 103).await.unwrap());
    assert!(!storage.use_totp(ANN, 102).await.unwrap());

    assert!(storage.remove_totp(ANN, &by(ANN, 12, 5)).await.unwrap());
    assert!(!storage.remove_totp(ANN, &by(ANN, 13, 5)).await.unwrap());
    assert_eq!((storage.totp(ANN).await, storage.recovery_codes_left(ANN).await), (Ok(None), Ok(0)));
    let told = actions(storage, own.id).await;
    assert!(told.starts_with(&[AuditAction::TotpDisabled, AuditAction::TotpEnabled]), "{told:?}");
}

pub async fn a_recovery_code_is_used_once(storage: &impl Storage) {
    let own = begin(storage).await;
    // There is nothing that it could stand in for.
    assert!(!storage.replace_recovery_codes(ANN, &[code(1)], &by(ANN, 10, 3)).await.unwrap());
    let totp = Totp { sealed_secret: vec![1], created_at: at(3) };
    storage.set_totp(ANN, &totp, 1, &[code(1), code(2), code(3)], &by(ANN, 11, 3)).await.unwrap();
    assert_eq!(storage.recovery_codes_left(ANN).await, Ok(3));
    assert!(!storage.use_recovery_code(BOB, &code(1), &by(BOB, 12, 4)).await.unwrap());
    let changes: Vec<_> = (20..24).map(|number| by(ANN, number, 4)).collect();
    let uses = join_all(changes.iter().map(|change| async move {
        let one = code(1);
        storage.use_recovery_code(ANN, &one, change).await.unwrap()
    }))
    .await;
    assert_eq!(uses.iter().filter(|used| **used).count(), 1, "{uses:?}");
    assert!(!storage.use_recovery_code(ANN, &code(9), &by(ANN, 30, 4)).await.unwrap());
    assert_eq!(storage.recovery_codes_left(ANN).await, Ok(2));

    assert!(storage.replace_recovery_codes(ANN, &[code(7)], &by(ANN, 31, 5)).await.unwrap());
    assert!(!storage.use_recovery_code(ANN, &code(2), &by(ANN, 32, 5)).await.unwrap());
    assert!(storage.use_recovery_code(ANN, &code(7), &by(ANN, 33, 6)).await.unwrap());
    let told = actions(storage, own.id).await;
    let expected = [
        AuditAction::RecoveryCodeUsed,
        AuditAction::RecoveryCodesReplaced,
        AuditAction::RecoveryCodeUsed,
        AuditAction::TotpEnabled,
    ];
    assert!(told.starts_with(&expected), "{told:?}");
}

pub async fn an_account_at_the_provider_lets_one_person_in(storage: &impl Storage) {
    let own = begin(storage).await;
    let issuer = "https://login.example.com";
    assert_eq!(storage.use_identity(issuer, "ann", "", at(3)).await, Ok(None));
    assert_eq!(storage.link_identity(&identity("ann", ANN), &by(ANN, 10, 3)).await, Ok(LinkIdentity::Linked));
    let join = Some((own.id, Role::ReadOnly));
    let signed_up = storage.sign_up_with_identity(&person(2), &identity("bob", BOB), join, &change(3, 3)).await;
    assert_eq!(signed_up, Ok(SignUp::Done));
    assert_eq!(storage.link_identity(&identity("ann", BOB), &by(BOB, 11, 4)).await, Ok(LinkIdentity::Taken));

    assert_eq!(storage.use_identity(issuer, "ann", "new@example.com", at(5)).await, Ok(Some(ANN)));
    assert_eq!(storage.use_identity(issuer, "bob", "", at(5)).await, Ok(Some(BOB)));
    // The same name at another provider is somebody else.
    assert_eq!(storage.use_identity("https://other.example.com", "ann", "", at(5)).await, Ok(None));
    let expected = OidcIdentity { email: "new@example.com".into(), last_used_at: Some(at(5)), ..identity("ann", ANN) };
    assert_eq!(storage.identities(ANN).await, Ok(vec![expected]));

    assert!(!storage.unlink_identity(BOB, issuer, "ann", &by(BOB, 12, 6)).await.unwrap());
    assert!(storage.unlink_identity(ANN, issuer, "ann", &by(ANN, 13, 6)).await.unwrap());
    assert_eq!(storage.use_identity(issuer, "ann", "", at(7)).await, Ok(None));
    let told = actions(storage, own.id).await;
    let (linked, unlinked) = (AuditAction::IdentityLinked, AuditAction::IdentityUnlinked);
    assert_eq!(told[..3], [unlinked, linked, AuditAction::MemberJoined], "{told:?}");
}

pub async fn who_was_invited_joins_with_their_account_at_the_provider(storage: &impl Storage) {
    let first = begin(storage).await;
    let second = Organization { name: "Second".into(), ..organization(2) };
    assert!(storage.create_organization_of(ANN, &second, 0, &by(ANN, 50, 2)).await.unwrap());
    let refused = storage.sign_up_with_identity(&person(2), &identity("bob", BOB), None, &change(3, 3)).await;
    assert_eq!((refused, storage.person(BOB).await), (Ok(SignUp::NotInvited), Ok(None)));

    invite(storage, &first, 20, "person2@example.com", Role::Developer).await;
    invite(storage, &second, 21, "person2@example.com", Role::Admin).await;
    invite(storage, &second, 22, "person3@example.com", Role::Admin).await;
    let done = storage.sign_up_with_identity(&person(2), &identity("bob", BOB), None, &change(4, 4)).await;
    assert_eq!(done, Ok(SignUp::Done));
    let memberships = storage.memberships(BOB).await.unwrap();
    let roles: Vec<_> = memberships.iter().map(|one| (one.organization, one.role)).collect();
    assert_eq!(roles.len(), 2);
    assert!(roles.contains(&(first.id, Role::Developer)) && roles.contains(&(second.id, Role::Admin)), "{roles:?}");
    // The invitations are used up, the other person's is not.
    assert_eq!(storage.invitations(first.id, at(5)).await.unwrap().len(), 0);
    assert_eq!(storage.invitations(second.id, at(5)).await.unwrap().len(), 1);
    assert_eq!(storage.use_identity("https://login.example.com", "bob", "", at(5)).await, Ok(Some(BOB)));

    // Neither the account at the provider nor the address makes a second person.
    let third = Person { email: "person2@example.com".into(), ..person(3) };
    invite(storage, &first, 23, "person9@example.com", Role::ReadOnly).await;
    let join = Some((first.id, Role::ReadOnly));
    let same = identity("bob", third.id);
    assert_eq!(storage.sign_up_with_identity(&person(3), &same, join, &change(5, 6)).await, Ok(SignUp::Taken));
    let other = identity("carl", third.id);
    assert_eq!(storage.sign_up_with_identity(&third, &other, join, &change(6, 6)).await, Ok(SignUp::Taken));
    assert_eq!(storage.person(third.id).await, Ok(None));
}

pub async fn who_was_not_invited_joins_where_the_settings_say(storage: &impl Storage) {
    let first = begin(storage).await;
    let default = (first.id, Role::Developer);
    let join = Some(default);
    let done = storage.sign_up_with_identity(&person(2), &identity("bob", BOB), join, &change(3, 3)).await;
    assert_eq!(done, Ok(SignUp::Done));
    let memberships = storage.memberships(BOB).await.unwrap();
    assert_eq!(memberships.iter().map(|one| (one.organization, one.role)).collect::<Vec<_>>(), [default]);
    // What an invitation says of the same organization is believed rather than the settings.
    invite(storage, &first, 20, "person3@example.com", Role::Admin).await;
    let carl = person(3);
    let done = storage.sign_up_with_identity(&carl, &identity("carl", carl.id), join, &change(4, 4)).await;
    assert_eq!(done, Ok(SignUp::Done));
    assert_eq!(storage.memberships(carl.id).await.unwrap()[0].role, Role::Admin);
    let nowhere = Some((OrganizationId::from_bits(99), Role::Developer));
    let dora = person(4);
    let refused = storage.sign_up_with_identity(&dora, &identity("dora", dora.id), nowhere, &change(5, 5)).await;
    assert_eq!((refused, storage.person(dora.id).await), (Ok(SignUp::TooMany), Ok(None)));
}
