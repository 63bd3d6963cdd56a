//! The repository of people, made of this crate's functions.

/// Implements [`PeopleRepository`](kallglot_storage::PeopleRepository); a part of [`repositories!`](crate::repositories), which says of what it is made.
#[doc(hidden)]
#[macro_export]
macro_rules! people_repository {
    ($storage:ty) => {
        const _: () = {
            use $crate::names::core::Timestamp;
            use $crate::names::core::audit::{AuditAction, Change};
            use $crate::names::core::id::{OrganizationId, PersonId, PortalLinkId, PortalSessionId};
            use $crate::names::core::organization::Organization;
            use $crate::names::core::person::{
                Invitation, Member, Membership, Person, PortalLink, PortalSession, Role,
            };
            use $crate::names::storage::changes::Changes;
            use $crate::names::storage::{
                Attempt, ChangeMember, CodeHash, FoundSession, Invite, Invited, Page, PageRequest, PasswordHash,
                PeopleRepository, Shown, StorageError, UseLink,
            };
            use $crate::people::{self, link, member, session};

            type Result<T> = std::result::Result<T, StorageError>;

            #[$crate::names::async_trait]
            impl PeopleRepository for $storage {
                async fn has_people(&self) -> Result<bool> {
                    self.read((), |db, ()| Box::pin(people::any(db))).await
                }

                async fn person(&self, id: PersonId) -> Result<Option<Person>> {
                    self.read(id, |db, id| Box::pin(people::by_id(db, *id))).await
                }

                async fn person_of_email(&self, email: &str) -> Result<Option<(Person, Option<PasswordHash>)>> {
                    self.read(email.to_owned(), |db, email| Box::pin(people::by_email(db, email))).await
                }

                async fn password_of(&self, id: PersonId) -> Result<Option<PasswordHash>> {
                    self.read(id, |db, id| Box::pin(people::password_of(db, *id))).await
                }

                async fn people_for_operator(&self, page: &PageRequest<PersonId>) -> Result<Page<Person>> {
                    self.read(*page, |db, page| Box::pin(people::all(db, page))).await
                }

                async fn set_up(
                    &self,
                    link: &CodeHash,
                    person: &Person,
                    password: Option<&PasswordHash>,
                    organization: &Organization,
                    credits: u32,
                    change: &Change,
                ) -> Result<UseLink<()>> {
                    let arguments = (*link, person.clone(), password.cloned(), organization.clone(), credits, *change);
                    self.write(arguments, |db, (link, person, password, organization, credits, change)| {
                        Box::pin(people::set_up(db, link, person, password.as_ref(), organization, *credits, change))
                    })
                    .await
                }

                async fn create_organization_of(
                    &self,
                    owner: PersonId,
                    organization: &Organization,
                    credits: u32,
                    change: &Change,
                ) -> Result<bool> {
                    let arguments = (owner, organization.clone(), credits, *change);
                    self.write(arguments, |db, (owner, organization, credits, change)| {
                        Box::pin(people::create_organization_of(db, *owner, organization, *credits, change))
                    })
                    .await
                }

                async fn rename_person(&self, id: PersonId, name: &str) -> Result<bool> {
                    let arguments = (id, name.to_owned());
                    self.write(arguments, |db, (id, name)| Box::pin(people::rename(db, *id, name))).await
                }

                async fn set_password(
                    &self,
                    id: PersonId,
                    password: &PasswordHash,
                    keep: Option<PortalSessionId>,
                    change: &Change,
                ) -> Result<bool> {
                    let arguments = (id, password.clone(), keep, *change);
                    self.write(arguments, |db, (id, password, keep, change)| {
                        Box::pin(people::set_password(db, *id, password, *keep, change))
                    })
                    .await
                }

                async fn rehash_password(&self, id: PersonId, old: &PasswordHash, new: &PasswordHash) -> Result<()> {
                    let arguments = (id, old.clone(), new.clone());
                    self.write(arguments, |db, (id, old, new)| Box::pin(people::rehash(db, *id, old, new))).await
                }

                async fn audit_person(
                    &self,
                    id: PersonId,
                    action: AuditAction,
                    changes: &Changes,
                    change: &Change,
                ) -> Result<()> {
                    let arguments = (id, action, changes.clone(), *change);
                    self.write(arguments, |db, (id, action, changes, change)| {
                        Box::pin(people::audit_person(db, *id, *action, changes, change))
                    })
                    .await
                }

                async fn create_link(&self, link: &PortalLink, code: &CodeHash, change: &Change) -> Result<()> {
                    let arguments = (link.clone(), *code, *change);
                    self.write(arguments, |db, (link, code, change)| Box::pin(link::create(db, link, code, change)))
                        .await
                }

                async fn link_of_code(&self, code: &CodeHash, now: Timestamp) -> Result<Option<PortalLink>> {
                    let arguments = (*code, now);
                    self.read(arguments, |db, (code, now)| Box::pin(link::by_code(db, code, *now))).await
                }

                async fn invite(&self, invitation: &Invitation, code: &CodeHash, change: &Change) -> Result<Invite> {
                    let arguments = (invitation.clone(), *code, *change);
                    self.write(arguments, |db, (invitation, code, change)| {
                        Box::pin(link::invite(db, invitation, code, change))
                    })
                    .await
                }

                async fn invitations(&self, organization: OrganizationId, now: Timestamp) -> Result<Vec<Invitation>> {
                    let arguments = (organization, now);
                    self.read(arguments, |db, (organization, now)| Box::pin(link::invitations(db, *organization, *now)))
                        .await
                }

                async fn withdraw_invitation(
                    &self,
                    organization: OrganizationId,
                    id: PortalLinkId,
                    change: &Change,
                ) -> Result<bool> {
                    let arguments = (organization, id, *change);
                    self.write(arguments, |db, (organization, id, change)| {
                        Box::pin(link::withdraw(db, *organization, *id, change))
                    })
                    .await
                }

                async fn accept_invitation(
                    &self,
                    code: &CodeHash,
                    invited: &Invited,
                    change: &Change,
                ) -> Result<UseLink<OrganizationId>> {
                    let arguments = (*code, invited.clone(), *change);
                    self.write(arguments, |db, (code, invited, change)| {
                        Box::pin(link::accept(db, code, invited, change))
                    })
                    .await
                }

                async fn reset_password(
                    &self,
                    code: &CodeHash,
                    password: &PasswordHash,
                    change: &Change,
                ) -> Result<UseLink<PersonId>> {
                    let arguments = (*code, password.clone(), *change);
                    self.write(arguments, |db, (code, password, change)| {
                        Box::pin(people::reset_password(db, code, password, change))
                    })
                    .await
                }

                async fn memberships(&self, id: PersonId) -> Result<Vec<Membership>> {
                    self.read(id, |db, id| Box::pin(member::of_person(db, *id))).await
                }

                async fn members(&self, organization: OrganizationId) -> Result<Vec<Member>> {
                    self.read(organization, |db, organization| Box::pin(member::of_organization(db, *organization)))
                        .await
                }

                async fn change_role(
                    &self,
                    organization: OrganizationId,
                    person: PersonId,
                    role: Role,
                    by: PersonId,
                    change: &Change,
                ) -> Result<ChangeMember> {
                    let arguments = (organization, person, role, by, *change);
                    self.write(arguments, |db, (organization, person, role, by, change)| {
                        Box::pin(member::change_role(db, *organization, *person, *role, *by, change))
                    })
                    .await
                }

                async fn remove_member(
                    &self,
                    organization: OrganizationId,
                    person: PersonId,
                    by: PersonId,
                    change: &Change,
                ) -> Result<ChangeMember> {
                    let arguments = (organization, person, by, *change);
                    self.write(arguments, |db, (organization, person, by, change)| {
                        Box::pin(member::remove(db, *organization, *person, *by, change))
                    })
                    .await
                }

                async fn open_portal_session(
                    &self,
                    session: &PortalSession,
                    cookie: &CodeHash,
                    shown: &Shown,
                    change: &Change,
                ) -> Result<bool> {
                    let arguments = (session.clone(), *cookie, shown.clone(), *change);
                    self.write(arguments, |db, (session, cookie, shown, change)| {
                        Box::pin(session::open(db, session, cookie, shown, change))
                    })
                    .await
                }

                async fn portal_session(&self, cookie: &CodeHash, now: Timestamp) -> Result<Option<FoundSession>> {
                    let arguments = (*cookie, now);
                    self.read(arguments, |db, (cookie, now)| Box::pin(session::by_cookie(db, cookie, *now))).await
                }

                async fn touch_portal_session(
                    &self,
                    id: PortalSessionId,
                    now: Timestamp,
                    expires_at: Timestamp,
                ) -> Result<()> {
                    let arguments = (id, now, expires_at);
                    self.write(arguments, |db, (id, now, expires_at)| {
                        Box::pin(session::touch(db, *id, *now, *expires_at))
                    })
                    .await
                }

                async fn freshen_portal_session(&self, id: PortalSessionId, until: Timestamp) -> Result<bool> {
                    let arguments = (id, until);
                    self.write(arguments, |db, (id, until)| Box::pin(session::freshen(db, *id, *until))).await
                }

                async fn portal_sessions(&self, person: PersonId, now: Timestamp) -> Result<Vec<PortalSession>> {
                    let arguments = (person, now);
                    self.read(arguments, |db, (person, now)| Box::pin(session::of_person(db, *person, *now))).await
                }

                async fn close_portal_session(&self, person: PersonId, id: PortalSessionId) -> Result<bool> {
                    let arguments = (person, id);
                    self.write(arguments, |db, (person, id)| Box::pin(session::close(db, *person, *id))).await
                }

                async fn close_portal_sessions(&self, person: PersonId, keep: Option<PortalSessionId>) -> Result<u64> {
                    let arguments = (person, keep);
                    self.write(arguments, |db, (person, keep)| Box::pin(session::close_all(db, *person, *keep))).await
                }

                async fn count_attempt(&self, account: &str, change: &Change) -> Result<Attempt> {
                    let arguments = (account.to_owned(), *change);
                    self.write(arguments, |db, (account, change)| Box::pin(people::count_attempt(db, account, change)))
                        .await
                }

                async fn forget_attempts(&self, account: &str) -> Result<()> {
                    self.write(account.to_owned(), |db, account| Box::pin(people::forget_attempts(db, account))).await
                }
            }
        };
    };
}
