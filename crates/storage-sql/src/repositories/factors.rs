//! The repository of what lets people in beside their password, made of this crate's functions.

/// Implements [`FactorRepository`](kallglot_storage::FactorRepository); a part of [`repositories!`](crate::repositories), which says of what it is made.
#[doc(hidden)]
#[macro_export]
macro_rules! factor_repository {
    ($storage:ty) => {
        const _: () = {
            use $crate::factors::{self, identity};
            use $crate::names::core::Timestamp;
            use $crate::names::core::audit::Change;
            use $crate::names::core::id::{OrganizationId, PasskeyId, PersonId};
            use $crate::names::core::person::{Person, Role};
            use $crate::names::storage::{
                AddPasskey, CodeHash, FactorRepository, LinkIdentity, OidcIdentity, Passkey, SignUp, Spent,
                StorageError, Totp, UsePasskey,
            };

            type Result<T> = std::result::Result<T, StorageError>;

            #[$crate::names::async_trait]
            impl FactorRepository for $storage {
                async fn spend(&self, spent: &Spent) -> Result<bool> {
                    let arguments = *spent;
                    self.write(arguments, |db, spent| Box::pin(factors::spend(db, spent))).await
                }

                async fn add_passkey(&self, passkey: &Passkey, spent: &Spent, change: &Change) -> Result<AddPasskey> {
                    let arguments = (passkey.clone(), *spent, *change);
                    self.write(arguments, |db, (passkey, spent, change)| {
                        Box::pin(factors::add_passkey(db, passkey, spent, change))
                    })
                    .await
                }

                async fn passkeys(&self, person: PersonId) -> Result<Vec<Passkey>> {
                    let arguments = person;
                    self.read(arguments, |db, person| Box::pin(factors::passkeys(db, *person))).await
                }

                async fn passkey_of_credential(&self, credential: &[u8]) -> Result<Option<Passkey>> {
                    let arguments = credential.to_vec();
                    self.read(arguments, |db, credential| Box::pin(factors::passkey_of_credential(db, credential)))
                        .await
                }

                async fn use_passkey(
                    &self,
                    person: PersonId,
                    id: PasskeyId,
                    sign_count: u32,
                    backed_up: bool,
                    spent: &Spent,
                    at: Timestamp,
                ) -> Result<UsePasskey> {
                    let arguments = (person, id, sign_count, backed_up, *spent, at);
                    self.write(arguments, |db, (person, id, sign_count, backed_up, spent, at)| {
                        Box::pin(factors::use_passkey(db, *person, *id, *sign_count, *backed_up, spent, *at))
                    })
                    .await
                }

                async fn rename_passkey(&self, person: PersonId, id: PasskeyId, name: &str) -> Result<bool> {
                    let arguments = (person, id, name.to_owned());
                    self.write(arguments, |db, (person, id, name)| {
                        Box::pin(factors::rename_passkey(db, *person, *id, name))
                    })
                    .await
                }

                async fn remove_passkey(&self, person: PersonId, id: PasskeyId, change: &Change) -> Result<bool> {
                    let arguments = (person, id, *change);
                    self.write(arguments, |db, (person, id, change)| {
                        Box::pin(factors::remove_passkey(db, *person, *id, change))
                    })
                    .await
                }

                async fn totp(&self, person: PersonId) -> Result<Option<Totp>> {
                    let arguments = person;
                    self.read(arguments, |db, person| Box::pin(factors::totp(db, *person))).await
                }

                async fn set_totp(
                    &self,
                    person: PersonId,
                    totp: &Totp,
                    step: i64,
                    recovery_codes: &[CodeHash],
                    change: &Change,
                ) -> Result<bool> {
                    let arguments = (person, totp.clone(), step, recovery_codes.to_vec(), *change);
                    self.write(arguments, |db, (person, totp, step, codes, change)| {
                        Box::pin(factors::set_totp(db, *person, totp, *step, codes, change))
                    })
                    .await
                }

                async fn use_totp(&self, person: PersonId, step: i64) -> Result<bool> {
                    let arguments = (person, step);
                    self.write(arguments, |db, (person, step)| Box::pin(factors::use_totp(db, *person, *step))).await
                }

                async fn remove_totp(&self, person: PersonId, change: &Change) -> Result<bool> {
                    let arguments = (person, *change);
                    self.write(arguments, |db, (person, change)| Box::pin(factors::remove_totp(db, *person, change)))
                        .await
                }

                async fn replace_recovery_codes(
                    &self,
                    person: PersonId,
                    codes: &[CodeHash],
                    change: &Change,
                ) -> Result<bool> {
                    let arguments = (person, codes.to_vec(), *change);
                    self.write(arguments, |db, (person, codes, change)| {
                        Box::pin(factors::replace_recovery_codes(db, *person, codes, change))
                    })
                    .await
                }

                async fn recovery_codes_left(&self, person: PersonId) -> Result<u32> {
                    let arguments = person;
                    self.read(arguments, |db, person| Box::pin(factors::recovery_codes_left(db, *person))).await
                }

                async fn use_recovery_code(&self, person: PersonId, code: &CodeHash, change: &Change) -> Result<bool> {
                    let arguments = (person, *code, *change);
                    self.write(arguments, |db, (person, code, change)| {
                        Box::pin(factors::use_recovery_code(db, *person, code, change))
                    })
                    .await
                }

                async fn use_identity(
                    &self,
                    issuer: &str,
                    subject: &str,
                    email: &str,
                    at: Timestamp,
                ) -> Result<Option<PersonId>> {
                    let arguments = (issuer.to_owned(), subject.to_owned(), email.to_owned(), at);
                    self.write(arguments, |db, (issuer, subject, email, at)| {
                        Box::pin(identity::used(db, issuer, subject, email, *at))
                    })
                    .await
                }

                async fn identities(&self, person: PersonId) -> Result<Vec<OidcIdentity>> {
                    let arguments = person;
                    self.read(arguments, |db, person| Box::pin(identity::of_person(db, *person))).await
                }

                async fn link_identity(&self, identity: &OidcIdentity, change: &Change) -> Result<LinkIdentity> {
                    let arguments = (identity.clone(), *change);
                    self.write(arguments, |db, (identity, change)| Box::pin(identity::link_to(db, identity, change)))
                        .await
                }

                async fn sign_up_with_identity(
                    &self,
                    person: &Person,
                    identity: &OidcIdentity,
                    join: Option<(OrganizationId, Role)>,
                    change: &Change,
                ) -> Result<SignUp> {
                    let arguments = (person.clone(), identity.clone(), join, *change);
                    self.write(arguments, |db, (person, identity, join, change)| {
                        Box::pin(identity::sign_up(db, person, identity, *join, change))
                    })
                    .await
                }

                async fn unlink_identity(
                    &self,
                    person: PersonId,
                    issuer: &str,
                    subject: &str,
                    change: &Change,
                ) -> Result<bool> {
                    let arguments = (person, issuer.to_owned(), subject.to_owned(), *change);
                    self.write(arguments, |db, (person, issuer, subject, change)| {
                        Box::pin(identity::unlink(db, *person, issuer, subject, change))
                    })
                    .await
                }
            }
        };
    };
}
