//! A hand from behind (PA): 27 bones, wrist and flesh.

use super::canvas::{Canvas, Knot, Matter};
use super::dice::Dice;

/// One ray of the hand: where the metacarpal begins, its direction (radians from straight up), the four lengths.
struct Ray {
    base: (f32, f32),
    angle: f32,
    lengths: [f32; 4],
    half: f32,
}

/// Thumb to little finger of a right hand seen from behind; mm.
const RAYS: [Ray; 5] = [
    Ray { base: (-23.0, 262.0), angle: -0.74, lengths: [45.0, 32.0, 0.0, 23.0], half: 5.4 },
    Ray { base: (-12.0, 243.0), angle: -0.16, lengths: [66.0, 41.0, 24.0, 18.0], half: 4.9 },
    Ray { base: (-2.0, 240.0), angle: -0.02, lengths: [64.0, 46.0, 29.0, 19.0], half: 5.0 },
    Ray { base: (8.0, 243.0), angle: 0.10, lengths: [57.0, 42.0, 28.0, 19.0], half: 4.4 },
    Ray { base: (17.0, 248.0), angle: 0.25, lengths: [52.0, 33.0, 20.0, 17.0], half: 4.1 },
];

/// Centre, half-axes, turn.
type Carpal = ((f32, f32), (f32, f32), f32);

/// Scaphoid, lunate, triquetrum, pisiform, trapezium, trapezoid, capitate, hamate.
const CARPALS: [Carpal; 8] = [
    ((-15.0, 268.0), (8.0, 5.6), 0.7),
    ((-1.5, 275.0), (7.4, 6.6), 0.1),
    ((11.5, 270.0), (7.0, 5.6), -0.6),
    ((14.0, 266.0), (4.2, 4.6), 0.0),
    ((-22.5, 257.0), (6.8, 5.8), 0.4),
    ((-14.0, 252.0), (5.0, 5.2), 0.2),
    ((-2.0, 256.0), (6.2, 10.4), 0.05),
    ((9.5, 256.0), (7.4, 7.6), 0.3),
];

/// Draws the hand; `left` mirrors it.
pub(super) fn draw(canvas: &mut Canvas, left: bool, dice: &mut Dice) {
    let side = if left { -1.0 } else { 1.0 };
    let size = dice.within(0.92, 1.06);
    let place = |x: f32, y: f32| (side * size * x, 178.0 + size * (y - 210.0));
    let angles = RAYS.map(|ray| ray.angle + dice.within(-0.035, 0.035));
    let knot = |x: f32, y: f32, r: f32| -> Knot {
        let (x, y) = place(x, y);
        (x, y, r * size)
    };
    flesh(canvas, &knot, angles);
    for (ray, angle) in RAYS.iter().zip(angles) {
        let (mut x, mut y) = ray.base;
        for (bone, length) in ray.lengths.iter().enumerate().filter(|(_, l)| **l > 0.0) {
            let (dx, dy) = (angle.sin() * length, -angle.cos() * length);
            let half = ray.half * (1.0 - 0.13 * bone as f32);
            canvas.tube(&long_bone(&knot, (x, y), (x + dx, y + dy), half, bone == 3), shaft(), 0.95);
            // Spongy ends.
            for t in [0.06, 0.94] {
                let (cx, cy) = place(x + t * dx, y + t * dy);
                canvas.ball(
                    (cx, cy),
                    (half * 1.12 * size, half * 0.9 * size),
                    angle * side,
                    half * 0.9,
                    Matter { shell: 0.012, cortex: 0.08, inside: 0.002 },
                );
            }
            let gap = 1.0 + 0.7 / length;
            (x, y) = (x + dx * gap, y + dy * gap);
        }
    }
    for (centre, axes, turn) in CARPALS {
        let (x, y) = place(centre.0, centre.1);
        let spongy = Matter { shell: 0.022, cortex: 0.14, inside: 0.0095 };
        canvas.ball((x, y), (axes.0 * size * 1.14, axes.1 * size * 1.14), turn * side, 7.5 * size, spongy);
    }
    // Radius and ulna with their styloids.
    let forearm: [&[(f32, f32, f32)]; 2] = [
        &[
            (-9.0, 289.0, 12.5),
            (-9.5, 297.0, 12.0),
            (-10.0, 312.0, 9.0),
            (-10.5, 340.0, 7.2),
            (-11.0, 450.0, 7.0),
        ],
        &[(13.5, 291.0, 6.6), (13.5, 300.0, 6.2), (14.0, 316.0, 5.2), (15.0, 450.0, 5.8)],
    ];
    for bone in forearm {
        let knots: Vec<Knot> = bone.iter().map(|p| knot(p.0, p.1, p.2)).collect();
        canvas.tube(&knots, Matter { shell: 0.04, cortex: 0.2, inside: 0.0105 }, 0.72);
    }
    for (from, to) in [((-19.0, 286.0, 4.0), (-21.0, 279.0, 2.2)), ((17.0, 287.0, 2.6), (18.5, 279.0, 1.8))] {
        canvas.tube(&[knot(from.0, from.1, from.2), knot(to.0, to.1, to.2)], Matter::bone(0.4), 1.0);
    }
    canvas.soften(0.25);
    spongiosa(canvas, dice);
}

/// Dense tube: at 55 kV bone stands out more than in a chest.
const fn shaft() -> Matter {
    Matter { shell: 0.044, cortex: 0.34, inside: 0.014 }
}

fn long_bone(
    knot: &impl Fn(f32, f32, f32) -> Knot,
    from: (f32, f32),
    to: (f32, f32),
    half: f32,
    tip: bool,
) -> Vec<Knot> {
    (0..=14)
        .map(|i| {
            let t = i as f32 / 14.0;
            let s = (2.0 * t - 1.0).abs();
            let mut r = half * (0.74 + 0.42 * s.powi(3));
            if tip && t > 0.5 {
                r = half * (0.62 + 0.30 * (t - 0.5));
            }
            // The rounded caps of the tube stand for the joint surfaces: draw them in.
            let inset = half / (to.0 - from.0).hypot(to.1 - from.1);
            let u = inset + t * (1.0 - 2.0 * inset);
            knot(from.0 + u * (to.0 - from.0), from.1 + u * (to.1 - from.1), r)
        })
        .collect()
}

fn flesh(canvas: &mut Canvas, knot: &impl Fn(f32, f32, f32) -> Knot, angles: [f32; 5]) {
    let thin = Matter::soft(1.0);
    let mut skin = canvas.clone();
    skin.data.fill(0.0);
    let mut deepest = skin.clone();
    let mut put = |knots: &[Knot], flat: f32| {
        skin.data.fill(0.0);
        skin.tube(knots, thin, flat);
        for (all, one) in deepest.data.iter_mut().zip(&skin.data) {
            *all = all.max(*one);
        }
    };
    for (ray, angle) in RAYS.iter().zip(angles) {
        let total: f32 = ray.lengths.iter().sum::<f32>() + 4.0;
        let (sin, cos) = angle.sin_cos();
        let at = |t: f32, r: f32| knot(ray.base.0 + sin * total * t, ray.base.1 - cos * total * t, r);
        put(&[at(0.0, 13.5), at(0.36, 12.0), at(0.44, 10.2), at(0.8, 8.8), at(0.99, 7.2)], 0.95);
    }
    put(&[knot(-18.0, 255.0, 15.0), knot(-14.0, 215.0, 13.0), knot(-6.0, 190.0, 12.0)], 1.0);
    put(
        &[
            knot(0.0, 205.0, 30.0),
            knot(0.0, 240.0, 33.0),
            knot(-1.0, 266.0, 30.0),
            knot(1.0, 290.0, 28.0),
            knot(1.5, 340.0, 30.0),
            knot(2.0, 450.0, 36.0),
        ],
        0.52,
    );
    for (body, flesh) in canvas.data.iter_mut().zip(&deepest.data) {
        *body += 1.15 * flesh;
    }
}

/// Trabecular pattern: fine grain where there is bone.
fn spongiosa(canvas: &mut Canvas, dice: &mut Dice) {
    for value in &mut canvas.data {
        if *value > 0.28 {
            *value *= dice.within(0.985, 1.015);
        }
    }
}
