//! What Redis does for us: each of these is one step there and one round trip.
//!
//! What must stay true: a script touches the keys that it is told and no others, all of one hash tag, so that Redis Cluster can spread
//! tenants; it takes the time from the server; every key that it writes expires.

macro_rules! scripts {
    ($($name:ident $($file:literal)*;)*) => {
        /// One of the scripts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Script {
            $($name,)*
        }

        impl Script {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// What it says, with what it builds on.
            pub(crate) const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => concat!(
                        include_str!("lua/prelude.lua"),
                        $(include_str!(concat!("lua/", $file, ".lua")),)*
                    ),)*
                }
            }
        }
    };
}

scripts! {
    Take "windows" "take";
    Look "windows" "look";
    GiveBack "windows" "give_back";
    Count "windows" "count";
    LeaseTake "leases" "lease_take";
    LeaseRestore "leases" "lease_restore";
    LeaseRenew "leases" "lease_renew";
    LeaseRelease "lease_release";
    LeaseCount "leases" "lease_count";
    Claim "claims" "claim";
    ClaimLook "claims" "claim_look";
    ClaimRelease "claims" "claim_release";
    Announce "announce";
}

/// The names by which a server knows the scripts: their hashes, which it tells when they are loaded.
#[derive(Debug)]
pub(crate) struct Names(Box<[String]>);

impl Names {
    /// In the order of [`Script::ALL`].
    pub(crate) fn new(hashes: Vec<String>) -> Option<Self> {
        (hashes.len() == Script::ALL.len()).then(|| Self(hashes.into()))
    }

    pub(crate) fn of(&self, script: Script) -> &str {
        &self.0[script as usize]
    }
}
