//! The handler macro of the Tidemill SDK.
