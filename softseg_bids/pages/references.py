"""The works that methods texts cite."""

from __future__ import annotations

from typing import NamedTuple


class Work(NamedTuple):
    """One work.

    Attributes
    ----------
    short : str
        As cited in a text: ``Bédard et al., 2025``.
    kind : str
        BibTeX entry type.
    author, title, year, venue : str
        Authors as BibTeX writes them (``Family, Given and Family, Given``).
    place : str
        Volume and pages (``101:103473``; pages alone ``:56-61``), empty where there are none.
    doi : str
        Empty where there is none, or none that could be checked.
    """

    short: str
    kind: str
    author: str
    title: str
    year: str
    venue: str
    place: str = ""
    doi: str = ""


WORKS = {
    "bedard2025": Work(
        "Bédard et al., 2025", "article",
        "Bédard, Sandrine and Karthik, Enamundram Naga and Tsagkas, Charidimos and Pravatà, Emanuele and "
        "Granziera, Cristina and Smith, Andrew and Weber, Kenneth Arnold and Cohen-Adad, Julien",
        "Towards contrast-agnostic soft segmentation of the spinal cord", "2025", "Medical Image Analysis",
        "101:103473", "10.1016/j.media.2025.103473",
    ),
    "billot2023": Work(
        "Billot et al., 2023", "article",
        "Billot, Benjamin and Greve, Douglas N. and Puonti, Oula and Thielscher, Axel and Van Leemput, "
        "Koen and Fischl, Bruce and Dalca, Adrian V. and Iglesias, Juan Eugenio",
        "SynthSeg: Segmentation of brain MRI scans of any contrast and resolution without retraining", "2023",
        "Medical Image Analysis", "86:102789", "10.1016/j.media.2023.102789",
    ),
    "gorgolewski2016": Work(
        "Gorgolewski et al., 2016", "article", "Gorgolewski, Krzysztof J. and others",
        "The brain imaging data structure, a format for organizing and describing outputs of neuroimaging "
        "experiments", "2016", "Scientific Data", "3:160044", "10.1038/sdata.2016.44",
    ),
    "gorgolewski2017": Work(
        "Gorgolewski et al., 2017", "article", "Gorgolewski, Krzysztof J. and others",
        "BIDS apps: Improving ease of use, accessibility, and reproducibility of neuroimaging data analysis "
        "methods", "2017", "PLOS Computational Biology", "13(3):e1005209", "10.1371/journal.pcbi.1005209",
    ),
    "gorgolewski2011": Work(
        "Gorgolewski et al., 2011", "article", "Gorgolewski, Krzysztof and others",
        "Nipype: a flexible, lightweight and extensible neuroimaging data processing framework in Python",
        "2011", "Frontiers in Neuroinformatics", "5:13", "10.3389/fninf.2011.00013",
    ),
    "yarkoni2019": Work(
        "Yarkoni et al., 2019", "article", "Yarkoni, Tal and others",
        "PyBIDS: Python tools for BIDS datasets",
        "2019", "Journal of Open Source Software", "4(40):1294", "10.21105/joss.01294",
    ),
    "paszke2019": Work(
        "Paszke et al., 2019", "inproceedings", "Paszke, Adam and others",
        "PyTorch: An imperative style, high-performance deep learning library", "2019",
        "Advances in Neural Information Processing Systems", "32",
    ),
    "cardoso2022": Work(
        "Cardoso et al., 2022", "article", "Cardoso, M. Jorge and others",
        "MONAI: An open-source framework for deep learning in healthcare", "2022", "arXiv", "2211.02701",
        "10.48550/arXiv.2211.02701",
    ),
    "harris2020": Work(
        "Harris et al., 2020", "article", "Harris, Charles R. and others", "Array programming with NumPy",
        "2020", "Nature", "585:357-362", "10.1038/s41586-020-2649-2",
    ),
    "virtanen2020": Work(
        "Virtanen et al., 2020", "article", "Virtanen, Pauli and others",
        "SciPy 1.0: fundamental algorithms for scientific computing in Python", "2020", "Nature Methods",
        "17:261-272", "10.1038/s41592-019-0686-2",
    ),
    "patterson1971": Work(
        "Patterson & Thompson, 1971", "article", "Patterson, H. D. and Thompson, R.",
        "Recovery of inter-block information when block sizes are unequal", "1971", "Biometrika",
        "58:545-554", "10.1093/biomet/58.3.545",
    ),
    "satterthwaite1946": Work(
        "Satterthwaite, 1946", "article", "Satterthwaite, Franklin E.",
        "An approximate distribution of estimates of variance components", "1946", "Biometrics Bulletin",
        "2(6):110-114", "10.2307/3002019",
    ),
    "mackinnon1985": Work(
        "MacKinnon & White, 1985", "article", "MacKinnon, James G. and White, Halbert",
        "Some heteroskedasticity-consistent covariance matrix estimators with improved finite sample "
        "properties", "1985", "Journal of Econometrics", "29(3):305-325", "10.1016/0304-4076(85)90158-7",
    ),
    "bell2002": Work(
        "Bell & McCaffrey, 2002", "article", "Bell, Robert M. and McCaffrey, Daniel F.",
        "Bias reduction in standard errors for linear regression with multi-stage samples", "2002",
        "Survey Methodology", "28(2):169-181",
    ),
    "welch1947": Work(
        "Welch, 1947", "article", "Welch, B. L.",
        "The generalization of 'Student's' problem when several different population variances are involved",
        "1947", "Biometrika", "34:28-35", "10.1093/biomet/34.1-2.28",
    ),
    "harville1985": Work(
        "Harville & Fenech, 1985", "article", "Harville, David A. and Fenech, Alan P.",
        "Confidence intervals for a variance ratio, or for heritability, in an unbalanced mixed linear model",
        "1985", "Biometrics", "41:137-152", "10.2307/2530650",
    ),
    "williams1962": Work(
        "Williams, 1962", "article", "Williams, J. S.", "A confidence interval for variance components",
        "1962", "Biometrika", "49:278-281",
    ),
    "steiger1997": Work(
        "Steiger & Fouladi, 1997", "incollection", "Steiger, James H. and Fouladi, Rachel T.",
        "Noncentrality interval estimation and the evaluation of statistical models", "1997",
        "What if there were no significance tests?", ":221-257",
    ),
    "bland1986": Work(
        "Bland & Altman, 1986", "article", "Bland, J. Martin and Altman, Douglas G.",
        "Statistical methods for assessing agreement between two methods of clinical measurement", "1986",
        "The Lancet", "327:307-310", "10.1016/S0140-6736(86)90837-8",
    ),
    "carkeet2015": Work(
        "Carkeet, 2015", "article", "Carkeet, Andrew",
        "Exact parametric confidence intervals for Bland-Altman limits of agreement", "2015",
        "Optometry and Vision Science", "92(3):e71-e80", "10.1097/OPX.0000000000000513",
    ),
    "mcgraw1996": Work(
        "McGraw & Wong, 1996", "article", "McGraw, Kenneth O. and Wong, S. P.",
        "Forming inferences about some intraclass correlation coefficients", "1996", "Psychological Methods",
        "1:30-46", "10.1037/1082-989X.1.1.30",
    ),
    "ionan2014": Work(
        "Ionan et al., 2014", "article",
        "Ionan, Alexei C. and Polley, Mei-Yin C. and McShane, Lisa M. and Dobbin, Kevin K.",
        "Comparison of confidence interval methods for an intra-class correlation coefficient (ICC)", "2014",
        "BMC Medical Research Methodology", "14:121", "10.1186/1471-2288-14-121",
    ),
    "benjamini1995": Work(
        "Benjamini & Hochberg, 1995", "article", "Benjamini, Yoav and Hochberg, Yosef",
        "Controlling the false discovery rate: a practical and powerful approach to multiple testing", "1995",
        "Journal of the Royal Statistical Society: Series B", "57:289-300",
        "10.1111/j.2517-6161.1995.tb02031.x",
    ),
    "johnson2007": Work(
        "Johnson et al., 2007", "article", "Johnson, W. Evan and Li, Cheng and Rabinovic, Ariel",
        "Adjusting batch effects in microarray expression data using empirical Bayes methods", "2007",
        "Biostatistics", "8:118-127", "10.1093/biostatistics/kxj037",
    ),
    "fortin2018": Work(
        "Fortin et al., 2018", "article", "Fortin, Jean-Philippe and others",
        "Harmonization of cortical thickness measurements across scanners and sites", "2018", "NeuroImage",
        "167:104-120", "10.1016/j.neuroimage.2017.11.024",
    ),
    "beer2020": Work(
        "Beer et al., 2020", "article", "Beer, Joanne C. and others",
        "Longitudinal ComBat: A method for harmonizing longitudinal multi-scanner imaging data", "2020",
        "NeuroImage", "220:117129", "10.1016/j.neuroimage.2020.117129",
    ),
    "crawford2006": Work(
        "Crawford & Garthwaite, 2006", "article", "Crawford, John R. and Garthwaite, Paul H.",
        "Comparing patients' predicted test scores from a regression equation with their obtained scores: A "
        "significance test and point estimate of abnormality with accompanying confidence limits", "2006",
        "Neuropsychology", "20:259-271",
    ),
    "valosek2024": Work(
        "Valošek et al., 2024", "article", "Valošek, Jan and Bédard, Sandrine and others",
        "A database of the healthy human spinal cord morphometry in the PAM50 template space", "2024",
        "Imaging Neuroscience", "2:1-15", "10.1162/imag_a_00075",
    ),
    "cohenadad2021": Work(
        "Cohen-Adad et al., 2021", "article", "Cohen-Adad, Julien and others",
        "Generic acquisition protocol for quantitative MRI of the spinal cord", "2021", "Nature Protocols",
        "16:4611-4632", "10.1038/s41596-021-00588-0",
    ),
    "cohenadad2021data": Work(
        "Cohen-Adad, Alonso-Ortiz et al., 2021", "article",
        "Cohen-Adad, Julien and Alonso-Ortiz, Eva and others",
        "Open-access quantitative MRI data of the spinal cord and reproducibility across participants, sites "
        "and manufacturers", "2021", "Scientific Data", "8:219", "10.1038/s41597-021-00941-8",
    ),
    "deleener2017": Work(
        "De Leener et al., 2017", "article",
        "De Leener, Benjamin and Lévy, Simon and Dupont, Sara M. and Fonov, Vladimir S. and Stikov, Nikola "
        "and Collins, D. Louis and Callot, Virginie and Cohen-Adad, Julien",
        "SCT: Spinal Cord Toolbox, an open-source software for processing spinal cord MRI data", "2017",
        "NeuroImage", "145:24-43", "10.1016/j.neuroimage.2016.10.009",
    ),
    "deleener2018": Work(
        "De Leener et al., 2018", "article",
        "De Leener, Benjamin and Fonov, Vladimir S. and Collins, D. Louis and Callot, Virginie and Stikov, "
        "Nikola and Cohen-Adad, Julien",
        "PAM50: Unbiased multimodal template of the brainstem and spinal cord aligned with the ICBM152 space",
        "2018", "NeuroImage", "165:170-179", "10.1016/j.neuroimage.2017.10.041",
    ),
    "bedard2022": Work(
        "Bédard & Cohen-Adad, 2022", "article", "Bédard, Sandrine and Cohen-Adad, Julien",
        "Automatic measure and normalization of spinal cord cross-sectional area using the pontomedullary "
        "junction", "2022", "Frontiers in Neuroimaging", "1", "10.3389/fnimg.2022.1031253",
    ),
    "mckinney2010": Work(
        "McKinney, 2010", "inproceedings", "McKinney, Wes",
        "Data structures for statistical computing in Python", "2010",
        "Proceedings of the 9th Python in Science Conference", ":56-61", "10.25080/Majora-92bf1922-00a",
    ),
    # The DOI stands for all versions of nibabel; so there is no year.
    "brett": Work(
        "Brett et al., n.d.", "misc", "Brett, Matthew and Markiewicz, Christopher J. and others",
        "nipy/nibabel", "n.d.", "Zenodo", "", "10.5281/zenodo.591597",
    ),
    "iglewicz1993": Work(
        "Iglewicz & Hoaglin, 1993", "book", "Iglewicz, Boris and Hoaglin, David C.",
        "How to detect and handle outliers", "1993", "ASQC Quality Press",
    ),
}  # fmt: skip


def listed(work: Work) -> str:
    """A work as a list of references has it."""
    names = [_initials(name) for name in work.author.split(" and ")]
    authors = ", ".join("et al." if name == "others" else name for name in names)
    where = f"{work.venue} {work.place.removeprefix(':')}".strip()
    return f"{authors} ({work.year}). {work.title}. {where}." + (f" doi:{work.doi}" if work.doi else "")


def bibtex(key: str, work: Work) -> str:
    """A work as a BibTeX entry."""
    volume, _, pages = work.place.partition(":")
    number = ""
    if "(" in volume:
        volume, _, number = volume.rstrip(")").partition("(")
    venue = {
        "article": "journal", "inproceedings": "booktitle", "incollection": "booktitle", "book": "publisher",
        "misc": "howpublished",
    }[work.kind]  # fmt: skip
    fields = {
        "author": work.author, "title": "{" + work.title + "}", venue: work.venue, "year": work.year,
        "volume": volume, "number": number, "pages": pages.replace("-", "--"), "doi": work.doi,
    }  # fmt: skip
    lines = [f"  {name} = {{{value.replace('&', chr(92) + '&')}}}" for name, value in fields.items() if value]
    return f"@{work.kind}{{{key},\n" + ",\n".join(lines) + "\n}\n"


def _initials(name: str) -> str:
    family, comma, given = name.partition(", ")
    return f"{family} {''.join(part[0] for part in given.replace('-', ' ').split())}" if comma else name
