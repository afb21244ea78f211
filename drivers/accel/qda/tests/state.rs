// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the states of a session.

use crate::state::State;
use kernel::prelude::*;

#[kunit_tests(qda_state)]
mod cases {
    use super::*;

    fn live() -> Result<State<u32>> {
        let mut state = State::New;
        state.begin()?;
        assert!(state.settle(Some(7)).is_none());
        Ok(state)
    }

    #[test]
    fn a_new_session_has_no_process() {
        assert_eq!(State::<u32>::New.process().err(), Some(ENOTCONN));
    }

    #[test]
    fn only_one_client_may_ask() -> Result {
        let mut state = State::<u32>::New;

        state.begin()?;
        assert_eq!(state.begin().err(), Some(EEXIST));
        assert_eq!(state.process().err(), Some(ENOTCONN));
        Ok(())
    }

    #[test]
    fn a_second_process_is_refused() -> Result {
        let mut state = live()?;

        assert_eq!(*state.process()?, 7);
        assert_eq!(state.begin().err(), Some(EEXIST));
        assert_eq!(state.settle(Some(8)), Some(8));
        assert_eq!(*state.process()?, 7);
        Ok(())
    }

    #[test]
    fn after_a_refusal_the_client_may_ask_again() -> Result {
        let mut state = State::<u32>::New;

        state.begin()?;
        assert!(state.settle(None).is_none());
        assert_eq!(state.process().err(), Some(ENOTCONN));
        state.begin()
    }

    #[test]
    fn the_end_gives_the_process_once() -> Result {
        let mut state = live()?;

        assert_eq!(state.close(), Some(7));
        assert_eq!(state.close(), None);
        assert_eq!(state.process().err(), Some(ENODEV));
        assert_eq!(state.begin().err(), Some(ENODEV));
        Ok(())
    }

    #[test]
    fn a_process_that_comes_after_the_end_is_given_back() -> Result {
        let mut state = State::New;

        state.begin()?;
        assert_eq!(state.close(), None);
        assert_eq!(state.settle(Some(9)), Some(9));
        assert_eq!(state.process().err(), Some(ENODEV));
        Ok(())
    }
}
