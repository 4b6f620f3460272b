"""What happens from update to update: optimizers and schedules, with drawn options."""

import warnings

import torch
from torch.optim import lr_scheduler

STEPS = 40


def further_optimizers(s):
    """Long enough that what changes with the count of updates shows."""
    s = s.stream(200)
    classes = {"adagrad": torch.optim.Adagrad, "adadelta": torch.optim.Adadelta, "nadam": torch.optim.NAdam}
    for op, params in [
        ("adagrad", {"lr": 0.5, "lr_decay": 0.5, "weight_decay": 0.1, "initial_accumulator_value": 2.0}),
        ("adadelta", {"lr": 2.0, "rho": 0.5, "eps": 1e-3, "weight_decay": 0.3}),
        ("nadam", {"lr": 0.05, "weight_decay": 0.2, "decoupled_weight_decay": True}),
        ("nadam", {"lr": 0.05, "betas": [0.99, 0.9], "eps": 1e-4, "momentum_decay": 0.5}),
        ("nadam", {"lr": 0.05, "betas": [0.5, 0.8], "momentum_decay": 0.0}),
    ]:
        inputs = {"p0": s.normal(5, 7)} | {f"g{k}_p0": s.normal(5, 7) for k in range(STEPS)}

        def compute(given):
            parameter, outputs = given["p0"].requires_grad_(), {}
            step = classes[op]([parameter], **params)
            for k in range(STEPS):
                parameter.grad = given[f"g{k}_p0"].clone()
                step.step()
                outputs[f"s{k}_p0"] = parameter.detach().clone()
            return outputs

        s.add("optimizer", op, params, inputs, compute)


def schedules(s):
    """Every class twice or more, sequences and chains of them."""
    s = s.stream(201)
    draw = lambda low, high: round(float(s.random.uniform(low, high)), 4)
    whole = lambda low, high: int(s.random.integers(low, high + 1))
    flag = lambda: bool(whole(0, 1))

    def one(name):
        match name:
            case "ConstantLR":
                return {"factor": draw(0.1, 1), "total_iters": whole(1, STEPS)}
            case "LinearLR":
                return {"start_factor": draw(0.1, 1), "end_factor": draw(0, 1), "total_iters": whole(1, STEPS)}
            case "StepLR":
                return {"step_size": whole(1, 9), "gamma": draw(0.1, 1.1)}
            case "MultiStepLR":
                return {"milestones": [whole(0, STEPS) for _ in range(4)], "gamma": draw(0.2, 1)}
            case "ExponentialLR":
                return {"gamma": draw(0.8, 1.02)}
            case "PolynomialLR":
                return {"total_iters": whole(2, STEPS), "power": draw(0.3, 3)}
            case "CosineAnnealingLR":
                return {"T_max": whole(1, STEPS), "eta_min": draw(0, 0.01)}
            case "CosineAnnealingWarmRestarts":
                return {"T_0": whole(1, 8), "T_mult": whole(1, 3), "eta_min": draw(0, 0.01)}
            case "OneCycleLR":
                return {"max_lr": draw(0.1, 0.9), "total_steps": whole(STEPS, 2 * STEPS), "pct_start": draw(0, 1),
                        "anneal_strategy": "cos" if flag() else "linear", "div_factor": draw(2, 30),
                        "final_div_factor": draw(2, 1e4), "three_phase": flag()}
            case "CyclicLR":
                return {"max_lr": draw(0.1, 0.9), "step_size_up": whole(1, 9), "step_size_down": whole(1, 9),
                        "mode": ["triangular", "triangular2", "exp_range"][whole(0, 2)], "gamma": draw(0.8, 1)}

    names = ["ConstantLR", "LinearLR", "StepLR", "MultiStepLR", "ExponentialLR", "PolynomialLR",
             "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "OneCycleLR", "CyclicLR"]
    # Those that are factors of the rate before them, as a chain multiplies.
    factors = names[:6]
    drawn = [{"scheduler": name} | one(name) for name in names for _ in range(4)]
    pick = lambda names: (name := names[whole(0, len(names) - 1)], one(name))
    for _ in range(4):
        parts = [{"scheduler": name} | options for name, options in (pick(names[:8]) for _ in range(3))]
        drawn.append({"scheduler": "SequentialLR", "schedulers": parts,
                      "milestones": sorted(whole(1, STEPS) for _ in range(2))})
        parts = [{"scheduler": name} | options for name, options in (pick(factors) for _ in range(3))]
        drawn.append({"scheduler": "ChainedScheduler", "schedulers": parts})

    def make(step, options):
        options = dict(options)
        kind = options.pop("scheduler")
        if "schedulers" in options:
            options["schedulers"] = [make(step, part) for part in options["schedulers"]]
        if kind == "ChainedScheduler":
            return lr_scheduler.ChainedScheduler(options["schedulers"])
        if kind in ["OneCycleLR", "CyclicLR"]:
            options["cycle_momentum"] = False
        if kind == "CyclicLR":
            options["base_lr"] = step.param_groups[0]["lr"]
        return getattr(lr_scheduler, kind)(step, **options)

    for options in drawn:
        base = draw(0.01, 0.09)

        def compute(_):
            parameter = torch.zeros(1, requires_grad=True)
            step, rates = torch.optim.SGD([parameter], lr=base), []
            schedule = make(step, options)
            for _ in range(STEPS):
                rates.append(step.param_groups[0]["lr"])
                step.step()
                schedule.step()
            return {"lr": torch.tensor(rates, dtype=torch.float64)}

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            s.add("schedule", "schedule", {"base_lr": base, "steps": STEPS} | options, {}, compute)
