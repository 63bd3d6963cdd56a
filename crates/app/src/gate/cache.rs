//! What the gate remembers of keys, so that a request costs no look-up in the database.
//!
//! What must stay true: a change to a key or an organization takes effect as soon as [`KeyCache::forget`] has been called for it, also
//! when a look-up was under way; and keys that don't exist never push out keys that do.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use kallglot_core::Timestamp;
use kallglot_core::api_key::{ApiKey, KeyHash};
use kallglot_core::credit::{BillingPeriod, CreditBalance};
use kallglot_core::edition::Edition;
use kallglot_core::id::OrganizationId;
use kallglot_core::organization::Organization;
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::plan::Limits;
use kallglot_storage::{GateChange, KeyUse, KnownKey};
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

/// Most hashes of keys that don't exist that are remembered. Only a client that repeats a wrong key is helped by it.
const UNKNOWN_MAX: usize = 16_384;

/// How an organization's credits stood when that was last heard. One for all keys of the organization.
#[derive(Debug, Default)]
pub struct Credits(Mutex<CreditBalance>);

impl Credits {
    /// The newest balance that this process has heard of.
    pub fn balance(&self) -> CreditBalance {
        *self.lock()
    }

    /// Takes a balance over unless a newer one is known: answers may overtake each other.
    pub fn hear(&self, balance: CreditBalance) {
        let mut known = self.lock();
        if balance.sequence >= known.sequence {
            *known = balance;
        }
    }

    fn lock(&self) -> MutexGuard<'_, CreditBalance> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key that exists, with everything that the gate needs to know.
#[derive(Debug)]
pub struct Known {
    /// The key.
    pub key: ApiKey,
    /// Until when the secret that was presented is valid; none for the key's current one.
    pub secret_valid_until: Option<Timestamp>,
    /// The key's organization.
    pub organization: Arc<Organization>,
    /// What the organization may do in the key's environment.
    pub limits: Limits,
    /// How the organization's credits stand.
    pub credits: Arc<Credits>,
    rendered: Mutex<Option<(BillingPeriod, Box<[u8]>)>>,
    uses: Uses,
}

/// What a key was used for since that was last stored.
#[derive(Debug, Default)]
struct Uses {
    /// 0 for not at all.
    last_us: AtomicI64,
    permissions: AtomicU64,
    waiting: AtomicBool,
}

impl Known {
    /// The edition of its requests, unless they say otherwise.
    pub fn edition(&self) -> Edition {
        self.key.edition.unwrap_or(self.organization.edition)
    }

    /// Appends what the edge has rendered of it, which stays the same within a billing period; `render` makes it the first time.
    pub fn rendered(&self, period: BillingPeriod, out: &mut Vec<u8>, render: impl FnOnce() -> Vec<u8>) {
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        // A rotation's grace period ends by itself, so such a key's body is made anew.
        if !matches!(&*rendered, Some((of, _)) if *of == period && self.key.old_secret_valid_until.is_none()) {
            *rendered = Some((period, render().into()));
        }
        if let Some((_, bytes)) = &*rendered {
            out.extend_from_slice(bytes);
        }
    }
}

/// Hashes of keys are random already: their first bytes are hash enough.
#[derive(Clone, Default)]
struct FirstBytes;

struct FirstBytesHasher(u64);

impl BuildHasher for FirstBytes {
    type Hasher = FirstBytesHasher;

    fn build_hasher(&self) -> FirstBytesHasher {
        FirstBytesHasher(0)
    }
}

impl Hasher for FirstBytesHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

type Bounded<V> = Cache<KeyHash, V, UnitWeighter, FirstBytes>;

fn bounded<V: Clone>(items_max: usize) -> Bounded<V> {
    Cache::with(items_max, items_max as u64, UnitWeighter, FirstBytes, DefaultLifecycle::default())
}

type Shared = (Weak<Organization>, Weak<Credits>);

/// The keys that were used lately.
pub struct KeyCache {
    known: Bounded<Arc<Known>>,
    unknown: Bounded<()>,
    /// So that all keys of an organization share what is the organization's.
    shared: Mutex<HashMap<OrganizationId, Shared>>,
    /// Keys whose use is not stored yet; each at most once.
    used: Mutex<Vec<Arc<Known>>>,
    generation: AtomicU64,
    look_ups: AtomicU64,
}

/// A look-up that has begun: what it finds is remembered only if nothing has changed since.
#[derive(Debug, Clone, Copy)]
pub struct LookUp(u64);

impl KeyCache {
    /// A cache of at most `keys_max` keys; beyond it the least used go.
    pub fn new(keys_max: usize) -> Self {
        Self {
            known: bounded(keys_max),
            unknown: bounded(UNKNOWN_MAX),
            shared: Mutex::default(),
            used: Mutex::default(),
            generation: AtomicU64::new(0),
            look_ups: AtomicU64::new(0),
        }
    }

    /// The key of this hash, if it is remembered.
    pub fn get(&self, hash: &KeyHash) -> Option<Arc<Known>> {
        self.known.get(hash)
    }

    /// Whether it is remembered that there is no key of this hash.
    pub fn is_unknown(&self, hash: &KeyHash) -> bool {
        self.unknown.get(hash).is_some()
    }

    /// To be called before the database is asked.
    pub fn begin(&self) -> LookUp {
        self.look_ups.fetch_add(1, Ordering::Relaxed);
        LookUp(self.generation.load(Ordering::SeqCst))
    }

    /// Remembers what the database has said, unless something has changed since `begun`.
    pub fn found(&self, begun: LookUp, hash: KeyHash, found: KnownKey) -> Arc<Known> {
        let known = self.unlisted(found);
        self.known.insert(hash, Arc::clone(&known));
        // Whoever forgets first counts, then removes: either this sees the count or that removes what was just put in.
        if self.generation.load(Ordering::SeqCst) != begun.0 {
            self.known.remove(&hash);
        }
        known
    }

    /// The key with what it shares with the others of its organization; it is not remembered.
    pub fn unlisted(&self, found: KnownKey) -> Arc<Known> {
        let (organization, credits) = self.share(found.organization);
        credits.hear(found.credits);
        let limits = organization.limits(found.key.environment);
        Arc::new(Known {
            key: found.key,
            secret_valid_until: found.secret_valid_until,
            organization,
            limits,
            credits,
            rendered: Mutex::default(),
            uses: Uses::default(),
        })
    }

    /// Remembers that there is no such key, unless something has changed since `begun`.
    pub fn not_found(&self, begun: LookUp, hash: KeyHash) {
        self.unknown.insert(hash, ());
        if self.generation.load(Ordering::SeqCst) != begun.0 {
            self.unknown.remove(&hash);
        }
    }

    fn share(&self, organization: Organization) -> (Arc<Organization>, Arc<Credits>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shared.get(&organization.id);
        let credits = known.and_then(|(_, credits)| credits.upgrade()).unwrap_or_default();
        let same = known.and_then(|(known, _)| known.upgrade()).filter(|known| **known == organization);
        let organization = same.unwrap_or_else(|| Arc::new(organization));
        shared.insert(organization.id, (Arc::downgrade(&organization), Arc::downgrade(&credits)));
        (organization, credits)
    }

    /// Takes over how an organization's credits stand, if any of its keys is remembered.
    pub fn hear_credits(&self, organization: OrganizationId, balance: CreditBalance) {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(credits) = shared.get(&organization).and_then(|(_, credits)| credits.upgrade()) {
            credits.hear(balance);
        }
    }

    /// Forgets what was changed. What is not known to exist is forgotten as a whole: it may exist now.
    pub fn forget(&self, changes: &[GateChange]) {
        if changes.is_empty() {
            return;
        }
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.unknown.clear();
        let is_changed = |known: &Known| {
            changes.iter().any(|change| match change {
                GateChange::Key(id) => known.key.id == *id,
                GateChange::Organization(id) => known.organization.id == *id,
                GateChange::CloseStreams(_) | GateChange::EndSession(..) | GateChange::Record(..) => false,
            })
        };
        self.known.retain(|_, known| !is_changed(known));
    }

    /// Forgets everything: changes were missed.
    pub fn forget_all(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.unknown.clear();
        self.known.clear();
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// How often a key was not remembered and had to be looked up.
    pub fn look_ups(&self) -> u64 {
        self.look_ups.load(Ordering::Relaxed)
    }

    /// Notes that a key was used, with this permission.
    pub fn note_use(&self, known: &Arc<Known>, permission: Option<Permission>, now: Timestamp) {
        let uses = &known.uses;
        uses.last_us.store(now.as_microsecond(), Ordering::Relaxed);
        if let Some(permission) = permission {
            let bit = 1 << permission as u16;
            if uses.permissions.load(Ordering::Relaxed) & bit == 0 {
                uses.permissions.fetch_or(bit, Ordering::Relaxed);
            }
        }
        if !uses.waiting.load(Ordering::Relaxed) && !uses.waiting.swap(true, Ordering::AcqRel) {
            self.used.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(known));
        }
    }

    /// The uses that are not stored yet. They are counted as stored from now on.
    pub fn take_uses(&self) -> Vec<KeyUse> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        used.iter()
            .filter_map(|known| {
                let uses = &known.uses;
                // In this order: a use from now on puts the key into the list again.
                uses.waiting.store(false, Ordering::Release);
                let bits = uses.permissions.swap(0, Ordering::AcqRel);
                let at = Timestamp::from_microsecond(uses.last_us.load(Ordering::Relaxed)).ok()?;
                let permissions: PermissionSet =
                    Permission::ALL.iter().copied().filter(|p| bits & (1 << *p as u16) != 0).collect();
                let old_secret_at = known.secret_valid_until.map(|_| at);
                Some(KeyUse { key: known.key.id, at, permissions, old_secret_at })
            })
            .collect()
    }

    /// Frees what nobody refers to any more.
    pub fn sweep(&self) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|_, (organization, credits)| organization.strong_count() > 0 || credits.strong_count() > 0);
    }
}
