// SPDX-License-Identifier: GPL-2.0

//! What the states of a session promise, for any order of what may happen.

use crate::state::State;
use kernel::prelude::*;
use proptest::prelude::*;
use std::rc::Rc;

#[derive(Clone, Copy, Debug)]
enum Event {
    Begin,
    Made,
    Refused,
    Close,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Begin),
        3 => Just(Event::Made),
        2 => Just(Event::Refused),
        1 => Just(Event::Close),
    ]
}

/// What a session may be, said in three flags.
#[derive(Default)]
struct Model {
    asked: bool,
    live: bool,
    closed: bool,
}

proptest! {
    /// There is never more than one process, none is lost, and none is given out twice.
    #[test]
    fn one_process_that_is_ended_once(events in prop::collection::vec(event(), 0..40)) {
        let mut state = State::New;
        let mut model = Model::default();
        let mut made = Vec::new();
        let mut given_back = 0;

        for event in events {
            match event {
                Event::Begin => {
                    let expected = match model {
                        Model { closed: true, .. } => Err(ENODEV),
                        Model { asked: false, live: false, .. } => Ok(()),
                        _ => Err(EEXIST),
                    };
                    prop_assert_eq!(state.begin(), expected);
                    model.asked |= expected.is_ok();
                }
                Event::Made => {
                    let process = Rc::new(made.len());
                    made.push(process.clone());
                    let back = state.settle(Some(process));
                    let taken = model.asked && !model.closed;
                    prop_assert_eq!(back.is_none(), taken);
                    given_back += usize::from(!taken);
                    model.live |= taken;
                    model.asked = false;
                }
                Event::Refused => {
                    prop_assert!(state.settle(None).is_none());
                    model.asked = false;
                }
                Event::Close => {
                    let process = state.close();
                    prop_assert_eq!(process.is_some(), model.live);
                    given_back += usize::from(process.is_some());
                    model = Model { closed: true, ..Model::default() };
                }
            }
            let error = state.process().err();
            let expected = match model {
                Model { closed: true, .. } => Some(ENODEV),
                Model { live: true, .. } => None,
                _ => Some(ENOTCONN),
            };
            prop_assert_eq!(error, expected);
        }

        let held = made.iter().filter(|process| Rc::strong_count(process) > 1).count();
        prop_assert_eq!(held, usize::from(model.live));
        prop_assert_eq!(made.len(), given_back + held);
    }
}
